"""Write a network into one file for other programs: python export.py METHOD [--option value ...]"""

from methods import run

if __name__ == "__main__":
    raise SystemExit(run("export"))
