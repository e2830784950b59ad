"""What does a person see? The publisher and the viewer; they speak signaling and know no room."""

from .publisher import PublisherWidget
from .viewer import ViewerWidget

__all__ = ["PublisherWidget", "ViewerWidget"]
