"""Score a network, or restored files, by a named protocol: python test.py METHOD [--option value
...]
"""

from methods import run

if __name__ == "__main__":
    raise SystemExit(run("test"))
