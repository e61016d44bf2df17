"""VGG16 without its dense layers, its modules named as in torchvision.

K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
configuration D.
"""

from torch import Tensor, nn

from lesionforge.classifiers.layers import global_average

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions; each stage is pooled


class VGG16(nn.Module):
    """[B, 3, y, x] → logits [B, K], by global average pooling and one dense layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels, convolutions in STAGES:
            for _ in range(convolutions):
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
                before = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(before, classes)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, y, x] → [B, K]."""
        return self.fc(global_average(self.features(images)))  # type: ignore[no-any-return]
