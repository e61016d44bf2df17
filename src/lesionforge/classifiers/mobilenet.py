"""MobileNetV2, its modules named as in torchvision.

M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, table 2.
"""

from torch import Tensor, nn

from lesionforge.classifiers.layers import draw_weights, global_average

STAGES = (  # expansion, channels, blocks, stride of the first of them
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
FIRST_CHANNELS, LAST_CHANNELS = 32, 1280


class MobileNetV2(nn.Module):
    """[B, 3, y, x] → logits [B, K], by global average pooling and one dense layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(3, FIRST_CHANNELS, 3, stride=2)]
        before = FIRST_CHANNELS
        for expansion, channels, blocks, stride in STAGES:
            for number in range(blocks):
                layers.append(_InvertedResidual(before, channels, stride=1 if number else stride, expansion=expansion))
                before = channels
        self.features = nn.Sequential(*layers, _convolution(before, LAST_CHANNELS, 1))
        self.fc = nn.Linear(LAST_CHANNELS, classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, y, x] → [B, K]."""
        return self.fc(global_average(self.features(images)))  # type: ignore[no-any-return]


class _InvertedResidual(nn.Module):
    """[B, C, y, x] → [B, out, y / stride, x / stride]: widened, convolved channel by channel, and narrowed again."""

    def __init__(self, before: int, after: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        widen = [_convolution(before, wide, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            _convolution(wide, wide, 3, stride=stride, groups=wide),
            nn.Conv2d(wide, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.residual = stride == 1 and before == after

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.conv(maps) if self.residual else self.conv(maps)  # type: ignore[no-any-return]


def _convolution(before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU6(inplace=True),
    )
