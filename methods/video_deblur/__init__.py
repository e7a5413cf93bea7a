"""CDVD-TSP: cascaded video deblurring with a temporal sharpness prior; see README.md."""
