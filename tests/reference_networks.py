"""RepDistiller's and mdistiller's CIFAR networks, written with torch's functions alone.

Each is a function of a state_dict under their names (``reference_names``) and of images
[B, 3, 32, 32], in evaluation mode, and gives logits [B, 100].
"""

import torch
from torch.nn import functional


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


def resnet8(state, x):
    return residual(state, x, depth=2, shortcut="downsample", classifier="fc")


def resnet50(state, x):
    return residual(state, x, depth=3, shortcut="shortcut", classifier="linear")


def wrn_16_2(state, x):
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


def vgg13(state, x):
    net = Network(state)
    for stage in range(5):
        for position in (0, 3):
            layer = f"block{stage}.{position}"
            x = net.conv_norm(x, layer, f"block{stage}.{position + 1}").relu()
        if stage < 3:
            x = functional.max_pool2d(x, 2)
    return net.classify(x, "classifier")


def mobile_half(state, x):
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


def shuffle_v1(state, x):
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


def shuffle_v2(state, x):
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
    "cifar_resnet8": resnet8,
    "cifar_wrn_16_2": wrn_16_2,
    "cifar_vgg13": vgg13,
    "cifar_mobilenet_v2": mobile_half,
    "cifar_shufflenet_v1": shuffle_v1,
    "cifar_shufflenet_v2": shuffle_v2,
    "cifar_resnet50": resnet50,
}
"""Our name -> the network as a function."""
