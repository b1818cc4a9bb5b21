"""Reports a person reads: pictures of scans with their masks (`figures`), and paged HTML (`html`)."""
