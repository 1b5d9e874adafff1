"""A plain Hugging Face script: a tiny causal language model, made at random, learns Python's help texts by the byte.

Nothing here knows of Ganger. Run it anywhere: python train.py, or torchrun --nproc-per-node 2 train.py
"""

import os
from pydoc_data.topics import topics

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

BLOCK = 64


class Blocks(Dataset):
    """Blocks of bytes of a text; a causal language model is its own labels."""

    def __init__(self, text: bytes) -> None:
        data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
        self.blocks = data[: len(data) // BLOCK * BLOCK].view(-1, BLOCK)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.blocks[index], "labels": self.blocks[index]}


def main() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=256, n_positions=BLOCK, n_embd=64, n_layer=2, n_head=2))
    arguments = TrainingArguments(
        output_dir=os.environ.get("OUTPUT_DIR", "/tmp/output"),
        max_steps=int(os.environ.get("MAX_STEPS", "400")),
        per_device_train_batch_size=16,
        learning_rate=3e-3,
        logging_steps=20,
        save_strategy="no",
        use_cpu=not torch.cuda.is_available(),
    )
    text = "\n".join(topics.values()).encode()
    Trainer(model=model, args=arguments, train_dataset=Blocks(text)).train()


if __name__ == "__main__":
    main()
