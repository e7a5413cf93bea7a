"""The layout: which folder may import which, thin commands, instant help, plain statements."""

import ast
import dataclasses
import importlib
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from utils.help import WITHOUT_EFFECT
from utils.option_groups import GROUPS
from utils.web.config import AppConfig

ROOT = Path(__file__).resolve().parents[1]
OURS = (
    "utils", "losses", "data", "models", "restoration", "methods", "tabs", "tests", "benchmarks",
)  # fmt: skip
ALLOWED = {
    "utils": {"utils"},
    "losses": {"losses", "utils"},
    "data": {"data", "utils"},
    "models": {"models", "utils"},
    "restoration": {"restoration", "models", "data", "utils"},
    # a method's folder: of methods only itself and common
    "methods": {"restoration", "models", "data", "losses", "utils", "methods"},
    # of the page; of data the embedded samples
    "tabs": {"restoration", "models", "data", "utils", "methods", "tabs"},
}
HEAVY = (
    "safetensors", "PIL", "skimage", "av", "jsonargparse", "yaml", "tqdm", "matplotlib",
    "tensorboard", "lpips", "torchvision", "cupy",
)  # fmt: skip


def imports(source: str) -> set[str]:
    """Dotted names of everything a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module)
    return found


def violations(path: Path, source: str) -> list[str]:
    folder = path.parts[0]
    wrong = []
    for name in imports(source):
        target = name.split(".")[0]
        if target not in OURS:
            continue
        # of commands and the page
        allowed = target in ALLOWED.get(folder, {"methods", "restoration", "tabs", "utils"})
        if folder == "methods" and target == "methods" and len(path.parts) > 2:
            allowed = name.split(".")[1:2] in (list(path.parts[1:2]), ["common"])
        if not allowed:
            wrong.append(f"{path} imports {name}")
    return wrong


def source_files() -> list[Path]:
    paths = [path for folder in ALLOWED for path in (ROOT / folder).rglob("*.py")]
    return sorted(path.relative_to(ROOT) for path in [*paths, *ROOT.glob("*.py")])


def test_imports_only_go_down():
    assert [
        line for path in source_files() for line in violations(path, (ROOT / path).read_text())
    ] == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("utils/image.py", "from models import load"),
        ("models/srn.py", "import data.clips"),
        ("losses/pixel.py", "def f():\n    from models.warp import warp"),
        ("methods/video_deblur/train.py", "from methods.irp.config import X"),
        ("data/clips.py", "import tests.conftest"),
        ("train.py", "from models import load"),
        ("app.py", "def f():\n    from data.clips import write_clip"),
        ("utils/web/page.py", "from methods.sbdd.generate import main"),
    ],
)
def test_a_planted_violation_is_seen(path, line):
    assert len(violations(Path(path), line)) == 1


def test_methods_may_import_their_own_folder():
    assert (
        violations(Path("methods/irp/train.py"), "from methods.irp.config import X\nimport models")
        == []
    )


def test_networks_losses_and_synthesis_need_few_packages():
    """They can be tried on a machine that has only torch, numpy, scipy and OpenCV."""
    paths = [
        path
        for folder in ("models", "losses", "data/synthesis")
        for path in sorted((ROOT / folder).glob("*.py"))
    ]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
    ]
    check = (
        "import importlib, sys\n"
        f"for name in {HEAVY!r}: sys.modules[name] = None  # importing it now fails\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "import models; print(sum(p.numel() for p in models.build('cdvd_tsp').parameters()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "16187045"


def test_commands_are_thin():
    for command in ("train", "test", "inference", "generate", "download"):
        lines = (ROOT / f"{command}.py").read_text().splitlines()
        assert len(lines) <= 10, command


@pytest.mark.parametrize("words", [["train.py"], ["train.py", "cdvd_tsp", "--help"]])
def test_help_imports_nothing_heavy(words):
    check = (
        "import runpy, sys\n"
        f"sys.argv = {words!r}\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop:\n    assert stop.code in (0, None), stop.code\n"
        "heavy = {'torch', 'cv2', 'numpy', 'cupy', 'matplotlib', 'jsonargparse'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "cdvd_tsp" in done.stdout


# per 1,000 lines of product code, at most; see `dense_statements`
AIMS = {"ternaries": 15, "tuple assignments": 8, "nested comprehensions": 1.5}


def dense_statements(source: str) -> dict[str, int]:
    """How many statements of three dense kinds a source has.

    ternaries: `a if condition else b`. tuple assignments: `a, b = x, y`, several values of their
    own assigned in one statement (an exchange, whose names stand on both sides, is none). nested
    comprehensions: comprehensions with a second `for`, or with another comprehension inside.
    """
    comprehensions = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    counts = dict.fromkeys(AIMS, 0)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.IfExp):
            counts["ternaries"] += 1
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            target = node.targets[0]
            left = {ast.unparse(part) for part in getattr(target, "elts", ())}
            right = {ast.unparse(part) for part in node.value.elts}
            counts["tuple assignments"] += isinstance(target, ast.Tuple) and left != right
        if isinstance(node, comprehensions):
            inner = [part for part in ast.walk(node) if isinstance(part, comprehensions)]
            counts["nested comprehensions"] += len(inner) > 1 or len(node.generators) > 1
    return counts


def product_files() -> list[Path]:
    """All our source but tests and benchmarks."""
    return [ROOT / path for path in source_files()]


@pytest.mark.parametrize("kind", AIMS)
def test_statements_are_not_dense(kind):
    sources = [path.read_text() for path in product_files()]
    lines = sum(source.count("\n") for source in sources)
    count = sum(dense_statements(source)[kind] for source in sources)
    assert count / lines * 1000 <= AIMS[kind], f"{count} {kind} in {lines} lines"


def test_dense_statements_are_counted():
    source = """
size = 1 if x else 2
a, b = 1, f(2)
a, b = b, a
first, second = pair
grid = [[cell for cell in row] for row in rows]
flat = [cell for row in rows for cell in row]
plain = [f(cell) for cell in row]
"""
    found = dense_statements(source)
    assert found == {"ternaries": 1, "tuple assignments": 1, "nested comprehensions": 2}


def test_applying_networks_needs_few_packages():
    """restoration/image.py and video.py work with what models/ needs, for tensors."""
    check = (
        "import sys\n"
        f"for name in {HEAVY!r}: sys.modules[name] = None\n"
        "import torch\n"
        "from models import build\n"
        "from restoration.image import ImageRestorer\n"
        "from restoration.video import VideoRestorer\n"
        "cpu = torch.device('cpu')\n"
        "image = ImageRestorer(build('nafnet', width=8, encoder=[1], decoder=[1]), cpu)\n"
        "small = dict(stages=1, width=4, blocks=1, kernel_size=3, flow='dis')\n"
        "video = VideoRestorer(build('cdvd_tsp', **small), cpu)\n"
        "frames = list(torch.rand(3, 3, 20, 30))\n"
        "print(image.restore(frames[0]).shape[1], len(list(video.stream(frames))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["20", "3"]


SLOW_TO_IMPORT = ("torchvision", "torch._dynamo", "matplotlib", "tensorboard", "pycocotools")


@pytest.mark.parametrize("method", ["image_deblur", "video_deblur", "blur2vid"])
def test_restoring_imports_nothing_slow(method):
    check = (
        f"import sys\nimport methods.{method}.inference\n"
        f"print([name for name in {SLOW_TO_IMPORT!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


LONGEST_FILE = 400  # lines


def test_files_are_short():
    long = {}
    for path in product_files():
        lines = path.read_text().count("\n")
        if lines > LONGEST_FILE:
            long[str(path.relative_to(ROOT))] = lines
    assert long == {}


# Words that stood for the field's own; see docs/conventions.md.
PRIVATE_WORDS = re.compile(
    r"door|place(?!ment|holder)|share(?!d)|least|(?<![a-z])most(?!_changed|_different)|"
    r"moment(?!um)|circumstance|lesson|apprais|guess|house|facts|encoded_fraction",
    re.IGNORECASE,
)
# Names that others gave, older spellings of options, and words that mean something else.
ALLOWED_NAMES = re.compile(
    r"replace|inplace|displacement|almost|outermost|innermost|guessed_rate|sharex|share\b|"
    r"(video|noise|jpeg|fresh|picture|encoded)_share|facts|moments\.(mp4|gif)"
)


def private_names(source: str) -> set[str]:
    """Names of variables, arguments, attributes, functions and classes that hold a private word."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.keyword(arg=str(name)):
                names.add(name)
    left = {name: ALLOWED_NAMES.sub("", name) for name in names}
    return {name for name, rest in left.items() if PRIVATE_WORDS.search(rest)}


def test_names_are_words_of_the_field():
    found = {}
    for path in product_files():
        names = private_names(path.read_text())
        if names:
            found[str(path.relative_to(ROOT))] = names
    assert found == {}


def test_private_names_are_seen():
    source = "def open_door(place, least_area): MOST_PANELS = frame.moment.replace(share=1)"
    expected = {"open_door", "place", "least_area", "MOST_PANELS", "moment"}
    assert private_names(source) == expected


def test_help_has_words_of_the_field():
    """The help texts of all options, with the names of options and files taken out."""
    found = []
    for path in (ROOT / "methods").rglob("config.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                words = ALLOWED_NAMES.sub("", node.value)
                if re.search(r"\b(doors?|shares?\b(?! a)|moments?|house|appraise\w*)\b", words):
                    found.append(f"{path.parent.name}: {node.value}")
    assert found == []


def effective() -> set[str]:
    """The options of all commands and of the page, but those without effect."""
    modules = {path.parent.name for path in (ROOT / "methods").glob("*/config.py")}
    classes = [AppConfig]
    for module in sorted(modules):
        found = vars(importlib.import_module(f"methods.{module}.config")).items()
        classes += [kind for name, kind in found if re.fullmatch(r"[A-Z][a-z]+Config", name)]
    fields = itertools.chain.from_iterable(map(dataclasses.fields, classes))
    return {field.name for field in fields if WITHOUT_EFFECT not in field.metadata["help"]}


def test_every_option_is_in_one_group():
    grouped = [name for names in GROUPS.values() for name in names]
    assert len(grouped) == len(set(grouped))
    assert effective() == set(grouped)
