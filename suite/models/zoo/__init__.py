"""The CIFAR networks of the distillation literature, registered in timm by importing this."""

from suite.models.zoo import mobilenet_v2, resnet, resnet50, shufflenet_v1, shufflenet_v2, vgg, wrn

__all__ = ["mobilenet_v2", "resnet", "resnet50", "shufflenet_v1", "shufflenet_v2", "vgg", "wrn"]
