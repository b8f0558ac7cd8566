"""The CIFAR networks of the distillation literature, registered in timm by importing this."""

from suite.zoo import resnet, wrn

__all__ = ["resnet", "wrn"]
