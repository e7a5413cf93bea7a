"""Names under which the page offers networks for photos."""

from functools import cache

# The families of networks for photos, as their published weights say what they serve.
PHOTO_NETWORKS = ("NAFNet", "Restormer", "MIMO-UNet", "DeepDeblur", "SRN")


@cache
def image_networks() -> dict[str, str]:
    """{name that a person reads: file in pretrain_models/}, the shipped network first."""
    from models import SHIPPED
    from restoration.image import image_weights_at_hand
    from utils.download.table import entries

    known = entries()
    networks = {}
    for path in image_weights_at_hand():
        name = path.name
        if path.stem == SHIPPED["image"]:
            name = "Small network (shipped)"
        elif name in known:
            name = f"{known[name].serves} ({name})"
        networks[name] = path.name
    return networks


def downloadable() -> str:
    """Networks for photos that are not there but have a name in download.py, as Markdown."""
    from utils.download.table import FOLDERS, entries, size_of

    lines = ["Whoever runs this page can download published networks:\n"]
    for entry in entries().values():
        offered = entry.kind == "weights" and entry.files
        if not offered or not entry.serves.startswith(PHOTO_NETWORKS):
            continue
        if not (FOLDERS["weights"] / entry.name).exists():
            what = f"{entry.serves}: {size_of(entry)}, licence {entry.licence.name}"
            lines.append(f"* {what}, `python download.py {entry.name}`")
    return "\n".join(lines)
