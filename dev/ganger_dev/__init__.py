"""What a developer's machine or CI needs and a user's cluster does not: binaries, images, a small cluster."""
