"""Examples of every command, for its help; a test reads each of them."""

from utils.help import Example

EXAMPLES: dict[str, dict[str, tuple[Example, ...]]] = {
    "image_deblur": {
        "train": (
            (
                "on a CPU: the recipe of the shipped network, on sharp pictures blurred on the fly",
                "python train.py image_deblur --config default --data_path SHARP_PICTURES "
                "--val_path VAL_PAIRS --max_minutes 90",
            ),
            (
                "on a GPU: a published recipe, on your pairs",
                "python train.py image_deblur --model NAFNet-32 --data_path PAIRS "
                "--val_path VAL_PAIRS --save mine",
            ),
            (
                "what a recipe does, and how many hours it takes here",
                "python train.py image_deblur --model Restormer --data_path PAIRS --explain",
            ),
        ),
        "test": (
            (
                "restore and score",
                "python test.py image_deblur --data_path VAL_PAIRS --weights mine",
            ),
            (
                "compare two folders of results",
                "python test.py image_deblur --compare old=out/old new=out/new "
                "--data_path VAL_PAIRS",
            ),
            (
                "the published figures of a network, beside those computed here",
                "python test.py image_deblur --table NAFNet-64 --download",
            ),
        ),
        "inference": (
            ("one photo", "python inference.py image_deblur PHOTO.jpg --output_dir OUT"),
            (
                "a folder, with published weights; sharp places stay as they are",
                "python inference.py image_deblur FOLDER --weights NAFNet-GoPro-width64.pth "
                "--only_blurry",
            ),
            (
                "go on after an interruption",
                "python inference.py image_deblur FOLDER --output_dir OUT --skip_existing",
            ),
        ),
        "export": (
            ("the shipped network for ONNX Runtime", "python export.py image_deblur"),
            (
                "weights of your own for torch.export.load",
                "python export.py image_deblur --weights mine --format pt2 --output mine.pt2",
            ),
            ("images of one size", "python export.py image_deblur --size 720 1280"),
        ),
    },
    "video_deblur": {
        "train": (
            (
                "on a CPU: the recipe of the shipped network, on sharp videos blurred on the fly",
                "python train.py video_deblur --config default --data_path SHARP_VIDEOS "
                "--picture_path SHARP_PICTURES --val_path VAL_CLIPS --max_minutes 90",
            ),
            (
                "on a GPU: the published recipe, on your clips",
                "python train.py video_deblur --data_path CLIPS --val_path VAL_CLIPS --save mine",
            ),
            (
                "go on after an interruption",
                "python train.py video_deblur --data_path CLIPS --val_path VAL_CLIPS --save mine "
                "--resume",
            ),
        ),
        "test": (
            (
                "restore and score",
                "python test.py video_deblur --data_path VAL_CLIPS --weights mine",
            ),
            (
                "compare two folders of results",
                "python test.py video_deblur --compare old=out/old new=out/new "
                "--data_path VAL_CLIPS",
            ),
            (
                "the published figures of a data set, beside those computed here",
                "python test.py video_deblur --table GOPRO --download",
            ),
        ),
        "inference": (
            ("a video file", "python inference.py video_deblur CLIP.mp4 --output_dir OUT"),
            (
                "ten seconds of it beside the input, to see what to expect",
                "python inference.py video_deblur CLIP.mp4 --start 1:20 --preview",
            ),
            (
                "folders of frames, with published weights",
                "python inference.py video_deblur FOLDER --weights CDVD_TSP_GOPRO.pt",
            ),
        ),
        "export": (
            ("the shipped network for ONNX Runtime", "python export.py video_deblur"),
            (
                "weights of your own, images of one size",
                "python export.py video_deblur --weights mine --size 704 1280",
            ),
            (
                "the optical flow alone",
                "python export.py video_deblur --weights CDVD_TSP_GOPRO.pt --part flow",
            ),
        ),
    },
    "sbdd": {
        "train": (
            (
                "on sharp pictures whose objects move by themselves",
                "python train.py sbdd --data_path SHARP_PICTURES --mask_path MASKS "
                "--val_path VAL_PAIRS --save mine",
            ),
            (
                "on pairs that generate.py made",
                "python train.py sbdd --source pairs --data_path dataset/pairs "
                "--val_path VAL_PAIRS --save mine",
            ),
            (
                "what the recipe does, and how many hours it takes here",
                "python train.py sbdd --data_path SHARP_PICTURES --explain",
            ),
        ),
        "test": (
            (
                "score results on real pairs after registration",
                "python test.py sbdd -b BLURRY -s SHARP -r RESTORED",
            ),
            (
                "compare two folders of results",
                "python test.py sbdd -s SHARP --compare old=out/old new=out/new",
            ),
            (
                "the data set of Koehler",
                "python test.py sbdd -s GROUND_TRUTH -r RESTORED --protocol kohler",
            ),
        ),
        "generate": (
            (
                "pairs of blurry and sharp pictures",
                "python generate.py sbdd --data_path SHARP_PICTURES --output_dir dataset/pairs",
            ),
            (
                "blurry and sharp clips of sharp videos",
                "python generate.py sbdd --config videos --data_path SHARP_VIDEOS --exposure 3 "
                "--output_dir dataset/clips",
            ),
            (
                "blurry pictures with seven sharp frames each",
                "python generate.py sbdd --config sequences --data_path SHARP_PICTURES "
                "--output_dir dataset/sequences",
            ),
        ),
    },
    "blur2vid": {
        "train": (
            (
                "on a CPU: the recipe of the shipped network",
                "python train.py blur2vid --config default --data_path dataset/sequences "
                "--max_minutes 90",
            ),
            (
                "on a GPU: a published recipe",
                "python train.py blur2vid --backbone Jin --data_path dataset/sequences --save mine",
            ),
            (
                "what a recipe does, and how many hours it takes here",
                "python train.py blur2vid --backbone Purohit --data_path dataset/sequences "
                "--explain",
            ),
        ),
        "test": (
            (
                "predict and score",
                "python test.py blur2vid --data_path dataset/sequences --weights mine",
            ),
            (
                "compare two folders of results",
                "python test.py blur2vid --compare old=out/old new=out/new "
                "--data_path dataset/sequences",
            ),
            ("published figures, beside those computed here", "python test.py blur2vid --table"),
        ),
        "inference": (
            ("one photo", "python inference.py blur2vid PHOTO.jpg --output_dir OUT"),
            (
                "a slower animation that only runs forward",
                "python inference.py blur2vid PHOTO.jpg --fps 7 --loop forward",
            ),
            (
                "a folder, with weights of your own",
                "python inference.py blur2vid FOLDER --weights mine --output_dir OUT",
            ),
        ),
    },
    "irp": {
        "train": (
            (
                "on a CPU: the recipe of the shipped network",
                "python train.py irp --config default --data_path dataset/stacks "
                "--fresh_path SHARP_PICTURES --max_minutes 90",
            ),
            (
                "on a GPU: the published recipe",
                "python train.py irp --data_path dataset/stacks --save mine",
            ),
            (
                "go on after an interruption",
                "python train.py irp --data_path dataset/stacks --save mine --resume",
            ),
        ),
        "test": (
            ("the shipped network on the embedded sample", "python test.py irp"),
            (
                "weights of your own",
                "python test.py irp --data_path dataset/stacks --weights mine",
            ),
            ("published figures", "python test.py irp --table"),
        ),
        "inference": (
            ("rank the photos of a folder", "python inference.py irp FOLDER --output_dir OUT"),
            (
                "copy and restore the five best frames of a clip",
                "python inference.py irp CLIP.mp4 --task select --keep 5 --restore",
            ),
            (
                "recommend an exposure",
                "python inference.py irp STACKS --task expose --output_dir OUT",
            ),
        ),
        "generate": (
            (
                "labelled exposure stacks of sharp pictures",
                "python generate.py irp --data_path SHARP_PICTURES --output_dir dataset/stacks",
            ),
            (
                "of folders of frames",
                "python generate.py irp --source videos --data_path SHARP_VIDEOS "
                "--output_dir dataset/stacks",
            ),
            (
                "split over four processes",
                "torchrun --nproc_per_node 4 generate.py irp --data_path SHARP_PICTURES "
                "--output_dir dataset/stacks",
            ),
        ),
    },
    "hypercut": {
        "train": (
            (
                "on a CPU: the recipe of the shipped network",
                "python train.py hypercut --config default --data_path dataset/sequences "
                "--max_minutes 90",
            ),
            (
                "on a GPU: the published recipe",
                "python train.py hypercut --data_path dataset/sequences --save mine",
            ),
            (
                "what the recipe does, and how many hours it takes here",
                "python train.py hypercut --data_path dataset/sequences --explain",
            ),
        ),
        "test": (
            ("the shipped network on the embedded sample", "python test.py hypercut"),
            (
                "weights of your own",
                "python test.py hypercut --data_path dataset/sequences --weights mine",
            ),
            ("published figures", "python test.py hypercut --table"),
        ),
        "generate": (
            (
                "order the frames of a data set",
                "python generate.py hypercut --data_path dataset/sequences",
            ),
            (
                "with weights of your own",
                "python generate.py hypercut --data_path dataset/sequences --weights mine",
            ),
            (
                "into a file of your choice",
                "python generate.py hypercut --data_path dataset/sequences --save_path new.json",
            ),
        ),
    },
}


def examples_of(method: str, command: str, called: str) -> list[Example]:
    """The examples of a method's command; called: the method's name on the command line."""
    found = EXAMPLES[method][command]
    return [(what, line.replace(f".py {method} ", f".py {called} ")) for what, line in found]
