"""The server: cases, predictions, annotations and jobs of one workspace over HTTP, for one lab on one machine."""
