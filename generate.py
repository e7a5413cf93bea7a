"""Make data: python generate.py METHOD [--option value ...]"""

from methods import run

if __name__ == "__main__":
    raise SystemExit(run("generate"))
