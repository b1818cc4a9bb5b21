import { defineConfig } from "vitest/config";

// `npm run dev` shows the viewer at Vite's own address and hands the API to a running `tumorscope serve`.
const SERVER = process.env.TUMORSCOPE_SERVER ?? "http://127.0.0.1:8765";

export default defineConfig({
  build: {
    outDir: "../src/tumorscope/server/viewer",
    emptyOutDir: true,
    target: "es2022",
    chunkSizeWarningLimit: 3000, // NiiVue is one large chunk; it is loaded for volumes only
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/login"].map((path) => [
        path,
        {
          target: SERVER,
          changeOrigin: true,
          // The server refuses other origins; in development the page comes from Vite's port.
          configure: (proxy) => proxy.on("proxyReq", (request) => request.removeHeader("origin")),
        },
      ]),
    ),
  },
  test: { include: ["tests/**/*.test.ts"] },
});
