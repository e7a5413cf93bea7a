"""The tabs of the web page (app.py): each builds a method's configuration and calls its main."""
