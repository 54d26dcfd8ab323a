"""The T5 encoder-decoder that prompts are tuned on: layers, network, decoding and sizes."""
