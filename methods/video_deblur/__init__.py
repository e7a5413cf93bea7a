"""Video deblurring with CDVD-TSP or Shift-Net; see README.md."""
