"""Names and shapes in the checkpoints of RepDistiller's and mdistiller's CIFAR networks."""

import torch


def conv(name, outputs, inputs, kernel):
    return {f"{name}.weight": (outputs, inputs, kernel, kernel)}


def norm(name, width):
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{v}": (width,) for v in vectors} | {f"{name}.num_batches_tracked": ()}


def linear(name, inputs, outputs=100):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def resnet8():
    names = conv("conv1", 16, 3, 3) | norm("bn1", 16)
    for layer, (inputs, width) in enumerate([(16, 16), (16, 32), (32, 64)], start=1):
        block = f"layer{layer}.0"
        names |= conv(f"{block}.conv1", width, inputs, 3) | norm(f"{block}.bn1", width)
        names |= conv(f"{block}.conv2", width, width, 3) | norm(f"{block}.bn2", width)
        if layer > 1:
            names |= conv(f"{block}.downsample.0", width, inputs, 1)
            names |= norm(f"{block}.downsample.1", width)
    return names | linear("fc", 64)


def wrn_16_2():
    names, channels = conv("conv1", 16, 3, 3), 16
    for number, width in enumerate([32, 64, 128], start=1):
        for layer in range(2):
            block = f"block{number}.layer.{layer}"
            names |= norm(f"{block}.bn1", channels) | conv(f"{block}.conv1", width, channels, 3)
            names |= norm(f"{block}.bn2", width) | conv(f"{block}.conv2", width, width, 3)
            if layer == 0:
                names |= conv(f"{block}.convShortcut", width, channels, 1)
            channels = width
    return names | norm("bn1", 128) | linear("fc", 128)


def vgg13():
    names, channels = {}, 3
    for number, width in enumerate([64, 128, 256, 512, 512]):
        for position in (0, 3):
            layer = f"block{number}.{position}"
            names |= conv(layer, width, channels, 3) | {f"{layer}.bias": (width,)}
            names |= norm(f"block{number}.{position + 1}", width)
            channels = width
    return names | linear("classifier", 512)


def mobile_half():
    names, channels = conv("conv1.0", 16, 3, 3) | norm("conv1.1", 16), 16
    widths, counts = (8, 12, 16, 32, 48, 80, 160), (1, 2, 3, 4, 3, 3, 1)
    for group, (width, count) in enumerate(zip(widths, counts, strict=True)):
        for block in range(count):
            prefix, inner = f"blocks.{group}.{block}.conv", channels * (1 if group == 0 else 6)
            names |= conv(f"{prefix}.0", inner, channels, 1) | norm(f"{prefix}.1", inner)
            names |= conv(f"{prefix}.3", inner, 1, 3) | norm(f"{prefix}.4", inner)
            names |= conv(f"{prefix}.6", width, inner, 1) | norm(f"{prefix}.7", width)
            channels = width
    names |= conv("conv2.0", 1280, 160, 1) | norm("conv2.1", 1280)
    return names | linear("classifier.0", 1280)


def shuffle_v1():
    names, channels = conv("conv1", 24, 3, 1) | norm("bn1", 24), 24
    for layer, (width, count) in enumerate([(240, 4), (480, 8), (960, 4)], start=1):
        for block in range(count):
            prefix, made = f"layer{layer}.{block}", width - channels if block == 0 else width
            inner, groups = made // 4, 1 if channels == 24 else 3
            names |= conv(f"{prefix}.conv1", inner, channels // groups, 1)
            names |= conv(f"{prefix}.conv2", inner, 1, 3) | norm(f"{prefix}.bn1", inner)
            names |= conv(f"{prefix}.conv3", made, inner // 3, 1) | norm(f"{prefix}.bn2", inner)
            names |= norm(f"{prefix}.bn3", made)
            channels = width
    return names | linear("linear", 960)


def shuffle_v2():
    names, channels = conv("conv1", 24, 3, 1) | norm("bn1", 24), 24
    for layer, (half, count) in enumerate([(58, 3), (116, 7), (232, 3)], start=1):
        down = f"layer{layer}.0"
        names |= conv(f"{down}.conv1", channels, 1, 3) | norm(f"{down}.bn1", channels)
        names |= conv(f"{down}.conv2", half, channels, 1) | norm(f"{down}.bn2", half)
        names |= conv(f"{down}.conv3", half, channels, 1) | norm(f"{down}.bn3", half)
        names |= conv(f"{down}.conv4", half, 1, 3) | norm(f"{down}.bn4", half)
        names |= conv(f"{down}.conv5", half, half, 1) | norm(f"{down}.bn5", half)
        for block in range(1, count + 1):
            prefix = f"layer{layer}.{block}"
            names |= conv(f"{prefix}.conv1", half, half, 1) | norm(f"{prefix}.bn1", half)
            names |= conv(f"{prefix}.conv2", half, 1, 3) | norm(f"{prefix}.bn2", half)
            names |= conv(f"{prefix}.conv3", half, half, 1) | norm(f"{prefix}.bn3", half)
        channels = 2 * half
    return names | conv("conv2", 1024, 464, 1) | norm("bn2", 1024) | linear("linear", 1024)


def resnet50():
    names, channels = conv("conv1", 64, 3, 3) | norm("bn1", 64), 64
    for layer, (width, count) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(count):
            prefix, wide = f"layer{layer}.{block}", 4 * width
            names |= conv(f"{prefix}.conv1", width, channels, 1) | norm(f"{prefix}.bn1", width)
            names |= conv(f"{prefix}.conv2", width, width, 3) | norm(f"{prefix}.bn2", width)
            names |= conv(f"{prefix}.conv3", wide, width, 1) | norm(f"{prefix}.bn3", wide)
            if block == 0:
                names |= conv(f"{prefix}.shortcut.0", wide, channels, 1)
                names |= norm(f"{prefix}.shortcut.1", wide)
            channels = wide
    return names | linear("linear", 2048)


def random_state(shapes):
    """Tensors under these names; variances are positive."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        drawn = torch.randn(shape, generator=generator) if shape else torch.tensor(7)
        scale = drawn[0].numel() ** -0.5 if len(shape) > 1 else 1.0
        state[name] = drawn.abs() + 0.5 if name.endswith("running_var") else drawn * scale
    return state


NAMES = {
    "cifar_resnet8": resnet8,
    "cifar_wrn_16_2": wrn_16_2,
    "cifar_vgg13": vgg13,
    "cifar_mobilenet_v2": mobile_half,
    "cifar_shufflenet_v1": shuffle_v1,
    "cifar_shufflenet_v2": shuffle_v2,
    "cifar_resnet50": resnet50,
}
"""Our name -> function that lists name -> shape."""
