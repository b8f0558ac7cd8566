"""RepDistiller's and mdistiller's CIFAR networks by the names of their parameters.

For each family the names and shapes in its checkpoints, and the same network as a function of such
a state_dict and images [B, 3, 32, 32] -> logits [B, 100], written with torch's functions alone.
"""

import torch
from torch.nn import functional


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


class Network:
    """Layers of a state_dict by name."""

    def __init__(self, state):
        self.state = state

    def conv(self, x, name, stride=1):
        """Convolution; padding and groups follow from the shape of the weight."""
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        groups = x.shape[1] // weight.shape[1]
        return functional.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)

    def norm(self, x, name):
        """Batch normalisation with the running figures."""
        figures = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(self.state[f"{name}.{figure}"] for figure in figures))

    def conv_norm(self, x, conv, norm, stride=1):
        """Convolution and batch normalisation."""
        return self.norm(self.conv(x, conv, stride), norm)

    def classify(self, x, name):
        """Global average pooling and the classifier."""
        return functional.linear(
            x.mean((2, 3)), self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        )

    def blocks(self, prefix):
        """Names of the numbered blocks under a prefix, in order."""
        numbers = {
            int(name.removeprefix(prefix).split(".")[0])
            for name in self.state
            if name.startswith(prefix)
        }
        return [f"{prefix}{number}" for number in sorted(numbers)]


def deal(x, groups):
    """Channel c of group g to place c * groups + g."""
    size = x.shape[1] // groups
    return torch.stack([x[:, group * size :][:, :size] for group in range(groups)], 2).flatten(1, 2)


def residual(state, x, *, depth, shortcut, classifier):
    """ResNet of basic blocks (depth 2) or bottlenecks (depth 3)."""
    net = Network(state)
    x = net.conv_norm(x, "conv1", "bn1").relu()
    for layer in net.blocks("layer"):
        for block in net.blocks(f"{layer}."):
            stride = 2 if block.endswith(".0") and layer != "layer1" else 1
            out = x
            for number in range(1, depth + 1):
                here = stride if number == depth - 1 else 1  # 3x3: the first of 2, second of 3
                out = net.conv_norm(out, f"{block}.conv{number}", f"{block}.bn{number}", here)
                out = out.relu() if number < depth else out
            if f"{block}.{shortcut}.0.weight" in state:
                x = net.conv_norm(x, f"{block}.{shortcut}.0", f"{block}.{shortcut}.1", stride)
            x = (out + x).relu()
    return net.classify(x, classifier)


def resnet8_forward(state, x):
    return residual(state, x, depth=2, shortcut="downsample", classifier="fc")


def resnet50_forward(state, x):
    return residual(state, x, depth=3, shortcut="shortcut", classifier="linear")


def wrn_16_2_forward(state, x):
    net = Network(state)
    x = net.conv(x, "conv1")
    for stage in ("block1", "block2", "block3"):
        for block in net.blocks(f"{stage}.layer."):
            stride = 2 if block.endswith(".0") and stage != "block1" else 1
            active = net.norm(x, f"{block}.bn1").relu()
            out = net.conv_norm(active, f"{block}.conv1", f"{block}.bn2", stride).relu()
            if f"{block}.convShortcut.weight" in state:
                x = net.conv(active, f"{block}.convShortcut", stride)
            x = x + net.conv(out, f"{block}.conv2")
    return net.classify(net.norm(x, "bn1").relu(), "fc")


def vgg13_forward(state, x):
    net = Network(state)
    for stage in range(5):
        for position in (0, 3):
            layer = f"block{stage}.{position}"
            x = net.conv_norm(x, layer, f"block{stage}.{position + 1}").relu()
        if stage < 3:
            x = functional.max_pool2d(x, 2)
    return net.classify(x, "classifier")


def mobile_half_forward(state, x):
    net = Network(state)
    x = net.conv_norm(x, "conv1.0", "conv1.1", 2).relu()
    for group, stride in enumerate([1, 1, 2, 2, 1, 2, 1]):
        for block in net.blocks(f"blocks.{group}."):
            here = stride if block.endswith(".0") else 1
            out = net.conv_norm(x, f"{block}.conv.0", f"{block}.conv.1").relu()
            out = net.conv_norm(out, f"{block}.conv.3", f"{block}.conv.4", here).relu()
            out = net.conv_norm(out, f"{block}.conv.6", f"{block}.conv.7")
            x = x + out if here == 1 and x.shape == out.shape else out
    return net.classify(net.conv_norm(x, "conv2.0", "conv2.1").relu(), "classifier.0")


def shuffle_v1_forward(state, x):
    net = Network(state)
    x = net.conv_norm(x, "conv1", "bn1").relu()
    for layer in ("layer1", "layer2", "layer3"):
        for block in net.blocks(f"{layer}."):
            first = block.endswith(".0")
            out = net.conv_norm(x, f"{block}.conv1", f"{block}.bn1").relu()
            out = deal(out, 1 if x.shape[1] == 24 else 3)
            out = net.conv_norm(out, f"{block}.conv2", f"{block}.bn2", 2 if first else 1).relu()
            out = net.conv_norm(out, f"{block}.conv3", f"{block}.bn3")
            pooled = functional.avg_pool2d(x, 3, 2, 1)
            x = (torch.cat([out, pooled], 1) if first else out + x).relu()
    return net.classify(x, "linear")


def shuffle_v2_forward(state, x):
    net = Network(state)
    x = net.conv_norm(x, "conv1", "bn1").relu()
    for layer in ("layer1", "layer2", "layer3"):
        down, *others = net.blocks(f"{layer}.")
        left = net.conv_norm(x, f"{down}.conv1", f"{down}.bn1", 2)
        left = net.conv_norm(left, f"{down}.conv2", f"{down}.bn2").relu()
        right = net.conv_norm(x, f"{down}.conv3", f"{down}.bn3").relu()
        right = net.conv_norm(right, f"{down}.conv4", f"{down}.bn4", 2)
        right = net.conv_norm(right, f"{down}.conv5", f"{down}.bn5").relu()
        x = deal(torch.cat([left, right], 1), 2)
        for block in others:
            carried, out = x.tensor_split(2, dim=1)
            out = net.conv_norm(out, f"{block}.conv1", f"{block}.bn1").relu()
            out = net.conv_norm(out, f"{block}.conv2", f"{block}.bn2")
            out = net.conv_norm(out, f"{block}.conv3", f"{block}.bn3").relu()
            x = deal(torch.cat([carried, out], 1), 2)
    return net.classify(net.conv_norm(x, "conv2", "bn2").relu(), "linear")


FORWARD = {
    "cifar_resnet8": (resnet8, resnet8_forward),
    "cifar_wrn_16_2": (wrn_16_2, wrn_16_2_forward),
    "cifar_vgg13": (vgg13, vgg13_forward),
    "cifar_mobilenet_v2": (mobile_half, mobile_half_forward),
    "cifar_shufflenet_v1": (shuffle_v1, shuffle_v1_forward),
    "cifar_shufflenet_v2": (shuffle_v2, shuffle_v2_forward),
    "cifar_resnet50": (resnet50, resnet50_forward),
}
"""Our name -> the names in the checkpoint, the network as a function."""
