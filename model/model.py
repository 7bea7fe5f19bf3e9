"""The residual MLP of "Generalizing MLPs With Dropouts, Batch Normalization, and Skip Connections".

A block is some residuals and one down-sampling to half the features; a linear layer to the classes
follows the last block. In front of every linear layer, but `linear1` of a first residual and the
last layer, stands an independent-component layer (batch norm, then dropout; arXiv 1905.05928).
Layer and parameter names are those of the original project, so that a state_dict of either loads
into the other. Activations are changed in place where no gradient needs what they were.

Source: arXiv 2108.08186.
"""

from torch import Tensor, nn

from base.base_model import BaseModel
from model.arguments import check_arguments
from model.dropout import Dropout


class Residual(nn.Module):
    """[norm, dropout,] linear, ReLU, norm, dropout, linear, + input, ReLU on (N, F) features.

    Args:
        num_features: F, of input and output.
        dropout: probability of zeroing an activation.
        add_residual: add the input before the last ReLU.
        add_IC: put batch norm and dropout in front of each linear layer.
        is_first: this is the network's first residual, which has none in front of `linear1`.
    """

    def __init__(
        self, num_features: int, dropout: float, add_residual: bool, add_IC: bool, is_first: bool
    ):
        super().__init__()
        self.add_residual = add_residual
        self.has_first_norm = add_IC and not is_first
        self.add_IC = add_IC
        if self.has_first_norm:
            self.norm_layer1 = nn.BatchNorm1d(num_features)
            self.dropout1 = Dropout(dropout, inplace=True)
        self.linear1 = nn.Linear(num_features, num_features)
        self.relu1 = nn.ReLU(inplace=True)
        if add_IC:
            self.norm_layer2 = nn.BatchNorm1d(num_features)
            self.dropout2 = Dropout(dropout, inplace=True)
        self.linear2 = nn.Linear(num_features, num_features)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F) to (N, F)."""
        out = self.dropout1(self.norm_layer1(x)) if self.has_first_norm else x
        out = self.relu1(self.linear1(out))
        if self.add_IC:
            out = self.dropout2(self.norm_layer2(out))
        out = self.linear2(out)
        if self.add_residual:
            out += x
        result: Tensor = self.relu2(out)
        return result


class DownSample(nn.Module):
    """Norm, dropout, linear, ReLU: (N, in_features) to fewer features."""

    def __init__(self, in_features: int, out_features: int, dropout: float, add_IC: bool):
        super().__init__()
        self.add_IC = add_IC
        if add_IC:
            self.norm_layer = nn.BatchNorm1d(in_features)
            self.dropout = Dropout(dropout, inplace=True)
        self.linear = nn.Linear(in_features, out_features)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_features) to (N, out_features)."""
        if self.add_IC:
            x = self.dropout(self.norm_layer(x))
        result: Tensor = self.relu(self.linear(x))
        return result


class ResMLP(BaseModel):
    """Residual MLP from embeddings to class logits.

    Args:
        dropout: probability of zeroing an activation, 0 <= dropout < 1.
        num_residuals_per_block: residuals in a block, 0 or more.
        num_blocks: blocks, each halving the features; 0 leaves just the last linear layer.
        num_classes: C.
        num_initial_features: D, the width of the embeddings.
        add_residual: skip connections.
        add_IC: batch norm and dropout.

    Raises:
        ValueError: an argument is out of its range, the blocks halve the features below one, or the
            network would be larger than any machine needs.

    >>> ResMLP(0.1, 1, 2, 101, 512).num_parameters()
    837733
    """

    def __init__(
        self,
        dropout: float,
        num_residuals_per_block: int,
        num_blocks: int,
        num_classes: int,
        num_initial_features: int,
        add_residual: bool = True,
        add_IC: bool = True,
    ):
        super().__init__()
        check_arguments(
            {
                "dropout": dropout,
                "num_residuals_per_block": num_residuals_per_block,
                "num_blocks": num_blocks,
                "num_classes": num_classes,
                "num_initial_features": num_initial_features,
                "add_residual": add_residual,
                "add_IC": add_IC,
            }
        )
        layers: list[nn.Module] = []
        num_features = num_initial_features
        for block in range(num_blocks):
            layers.extend(
                Residual(num_features, dropout, add_residual, add_IC, block == index == 0)
                for index in range(num_residuals_per_block)
            )
            layers.append(DownSample(num_features, num_features // 2, dropout, add_IC))
            num_features //= 2
        layers.append(nn.Linear(num_features, num_classes))
        self.blocks = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map embeddings (N, D) to logits (N, C)."""
        logits: Tensor = self.blocks(x)
        return logits
