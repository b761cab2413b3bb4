"""Events of the middleware, whose module moved between releases of ROS 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


def lost_message_events(on_lost: Callable[[int], None]) -> SubscriptionEventCallbacks:
    """Callbacks of a subscription: ``on_lost`` gets the number of messages that the middleware knows to have lost."""

    def lost(event: Any) -> None:
        on_lost(int(event.total_count_change))

    return SubscriptionEventCallbacks(message_lost=lost)
