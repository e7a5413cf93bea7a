"""Get published weights and data sets by name: python download.py [NAME ...]"""

from methods.download import run

if __name__ == "__main__":
    raise SystemExit(run())
