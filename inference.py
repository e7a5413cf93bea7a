"""Restore the user's own material: python inference.py METHOD [--option value ...]"""

from methods import run

if __name__ == "__main__":
    raise SystemExit(run("inference"))
