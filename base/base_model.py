"""What every network can tell of itself."""

from torch import nn


class BaseModel(nn.Module):
    """A network that prints its parameter count below its layers."""

    def num_parameters(self) -> int:
        """Count the trainable parameters."""
        return sum(weight.numel() for weight in self.parameters() if weight.requires_grad)

    def __str__(self) -> str:
        return f"{super().__str__()}\nTrainable parameters: {self.num_parameters():,}"
