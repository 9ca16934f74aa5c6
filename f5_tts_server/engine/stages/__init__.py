"""The four threads: request queue, preprocess, inference, postprocess."""
