"""The groups in which the help of every command lists its options, in this order."""

GROUPS = {
    "common": (
        "data_path", "val_path", "task", "what", "model", "backbone", "weights", "default_data",
        "output_dir", "output", "save", "save_path", "resume", "epochs", "max_minutes", "keep",
        "restore", "preview", "start", "end", "table", "compare", "blurry_dir", "sharp_dir",
        "restored_dir", "n_images", "seed", "device", "host", "port",
    ),
    "training": (
        "steps", "batch_size", "patch_size", "image_size", "phases", "lr", "lr_min", "schedule",
        "lr_hold", "lr_power", "milestones", "lr_gamma", "lr_decay", "flow_lr", "optimizer",
        "betas",
        "beta2", "epsilon", "weight_decay", "loss", "psnr_floor", "loss_type", "alpha",
        "flow_weight", "centre_loss", "auxiliary_weight", "within", "bracket", "gradient_norm",
        "average", "warm_start", "warm_batch_size", "max_batches", "clip_frames", "augment",
        "tile_size", "tile_step", "crop_size", "drop_last", "val_every", "val_frames",
        "val_pictures", "val_sequences", "best_by", "load_epoch",
    ),
    "data": (
        "source", "layout", "blur_folder", "dataset_name", "metadata", "partition", "file_pattern",
        "picture_path", "picture_fraction", "video_path", "video_fraction", "fresh_path",
        "fresh_fraction", "max_frames", "cached", "cache_path", "min_img_size",
    ),
    "synthesis of blur": (
        "realism", "srgb_fraction", "noise_fraction", "jpeg_fraction", "zoom", "strong", "mild",
        "mask_path", "mask_kind", "detector_weights", "score_threshold", "min_object_area",
        "max_objects", "random_masks", "kernel_path", "kernel_list", "kernel_size",
        "kernel_length", "kernels", "gamma", "exponential_crf", "exponential_factor",
        "augment_illumination", "random_whyte_streaks", "prob_streaks", "min_streaks",
        "max_streaks", "max_sat_increment", "saturation_streaks", "sat_augmentation_in_blurry",
        "max_boost", "gaussian_noise", "noise_std", "poisson_noise", "photons", "read_noise",
        "published", "exposure", "stride", "interpolate", "frames", "blur", "object_blur", "focal",
        "still", "ratios", "height", "width",
    ),
    "network and how it is applied": (
        "network", "variant", "condition", "irp_weights", "imagenet", "flow_weights",
        "start_blocks", "hypercut_path", "deblurrer", "centre", "target_frames", "judge", "ratio",
        "spread", "error", "restorer", "restorers", "scale", "strength", "only_blurry", "guard",
        "border", "ensemble", "ensemble_views", "local_statistics", "gamma_factor", "step",
        "window",
    ),
    "scores": ("protocol", "metrics", "resize_factor", "baselines"),
    "output": (
        "report", "pictures", "picture_format", "format", "quality", "codec", "crf", "lossless",
        "fps", "loop", "write_ratings", "skip_existing", "only", "shards", "part",
        "size",
    ),
    "speed and memory": (
        "precision", "workers", "accumulate", "compile", "tile", "tile_overlap", "memory",
        "profile",
    ),
    "limits of the page": (
        "allowed_host", "upload_mb", "photo_megapixels", "burst", "video_frames",
        "video_megapixels", "total_gb", "keep_minutes",
    ),
}  # fmt: skip
