"""A lifecycle node whose parameters come from configuration dataclasses and whose failures are sentences."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from vloc_ros.config import UNCONFIGURED, keys
from vloc_ros.errors import VlocError
from vloc_ros.ros import params
from vloc_ros.ros.reception import Reception, guarded

T = TypeVar("T")
Entity: TypeAlias = "Subscription[Any] | Service[Any, Any] | Timer | Publisher[Any]"
SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class ManagedNode(LifecycleNode):
    """Base of the nodes.

    A subclass implements :meth:`configure`, :meth:`activate`, :meth:`deactivate` and :meth:`cleanup`, which may raise
    VlocError. Parameters can be changed while the node is unconfigured, and are read when it is configured. Those that are live
    (:func:`vloc_ros.config.param`) can be changed at any time: :meth:`changed` takes them over.

    Attributes:
        done: set when the process should end.
        failure: why it ends with an error; None when it does not.
        reception: what has come on the topics.
    """

    def __init__(self, name: str, defaults: tuple[Any, ...], arrays: Mapping[str, tuple[list[float], str]] | None = None) -> None:
        """Declare the parameters.

        Args:
            name: of the node.
            defaults: configurations whose keys are the parameters.
            arrays: further parameters that are lists of numbers: default and description.

        Raises:
            ConfigError: the node was started with an unknown parameter, or one with a value that does not fit.
        """
        self.reception = Reception()  # first, as rclpy subscribes to a clock while the node is made
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.done = threading.Event()
        self.failure: str | None = None
        self._defaults, self._arrays = defaults, arrays or {}
        self._configured = self._active = self._led = False
        self._live = {key.name for default in defaults for key in keys(default) if key.live}
        overrides = params.take_overrides(self)
        for default, values in zip(defaults, params.split(overrides, defaults, self._arrays), strict=True):
            params.declare(self, default, values)
        for array, (usual, description) in self._arrays.items():
            numbers = params.numbers(array, overrides.get(array, usual))
            self.declare_parameter(array, numbers, _of_array(description), ignore_override=True)
        self.add_on_set_parameters_callback(self._check_parameters)

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, *args: Any, **options: Any) -> Subscription[Any]:
        """As rclpy's, and counted."""
        return super().create_subscription(msg_type, topic, self.reception.watched(msg_type, topic, callback), *args, **options)

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, **options: Any) -> Service[Any, Any]:
        """As rclpy's, which makes those for the parameters by it too."""
        return super().create_service(srv_type, srv_name, guarded(srv_type, callback), **options)

    def settings(self, default: T) -> T:
        """The configuration that the parameters now make."""
        return params.read(self, default)

    def start(self) -> None:
        """Configure and activate, unless a lifecycle manager is to do it (parameter ``autostart``)."""
        if not self.get_parameter("autostart").value:
            self.get_logger().info("waiting for a lifecycle manager to configure and activate this node (autostart is false)")
            return
        self._lead(self.trigger_configure, self.trigger_activate)

    def stop(self) -> None:
        """Go back to unconfigured, closing whatever is open."""
        if self._active:
            self._lead(self.trigger_deactivate)
        if self._configured:
            self._lead(self.trigger_cleanup)

    def _lead(self, *triggers: Callable[[], TransitionCallbackReturn]) -> None:
        """Transitions that nobody outside asked for: the first that fails ends the process."""
        self._led = True
        for trigger in triggers:
            if trigger() != SUCCESS:
                self.fail(self._refusal)
                break
        self._led = False

    def fail(self, reason: str) -> None:
        """End the process with an error; may be called from any thread."""
        if self.failure is None:
            self.failure = reason
            self.get_logger().fatal(reason)
        self.done.set()

    def broken(self, error: BaseException) -> None:
        """End the process with an error that nobody expected, and log where it comes from; may be called from any thread."""
        self.get_logger().error("".join(traceback.format_exception(error)))
        self.fail(f"internal error: {error!r}")

    def steady_timer(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """A timer that also runs when simulated time stands still."""
        return self.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_all(self, entities: Iterable[Entity]) -> None:
        """Take subscriptions, services, timers and publishers of this node away."""
        for entity in entities:
            match entity:
                case Subscription():
                    self.destroy_subscription(entity)
                case Service():
                    self.destroy_service(entity)
                case Timer():
                    self.destroy_timer(entity)
                case Publisher():
                    self.destroy_publisher(entity)

    def configure(self) -> None:
        """Read the parameters and open what is needed."""

    def activate(self) -> None:
        """Subscribe and begin."""

    def deactivate(self) -> None:
        """End what :meth:`activate` began."""

    def cleanup(self) -> None:
        """Close what :meth:`configure` opened."""

    def changed(self) -> None:
        """Take over live parameters that were changed, all of them at once: :meth:`settings` has them.

        It is called once for each request, in the thread of the executor, while the node is configured. All values are within their
        ranges; there is nothing to refuse any more.
        """

    def require_usable(self, values: Mapping[str, Any]) -> None:
        """Refuse live parameters for what no range can say; it is called while the node is configured, before :meth:`changed`.

        Args:
            values: those that are to change, by name.

        Raises:
            VlocError: one of them cannot be used; its text is the reason that whoever asked gets.
        """

    def set_parameters_atomically(self, parameter_list: list[Parameter[Any]]) -> SetParametersResult:
        """As rclpy's, which every service that sets parameters comes to; then the node takes over what is live.

        Not by a callback: what rclpy calls before the change may still be overruled, and Humble calls nothing after it.
        """
        result = super().set_parameters_atomically(parameter_list)
        live = [change for change in parameter_list if change.name in self._live]
        if result.successful and live and self._configured:
            said = ", ".join(f"{change.name} = {change.value}" for change in live)
            self.get_logger().info(f"changed while running: {said}")
            try:
                self.changed()
            except Exception as error:
                self.broken(error)
        return result

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        result = self._attempt(self.configure)
        self._configured = result == SUCCESS
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        result = self._attempt(self.activate)
        self._active = result == SUCCESS
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        self._active = False
        return self._attempt(self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        self._configured = False
        return self._attempt(self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition: as deactivate and cleanup, as far as they apply; then the process ends."""
        if self._active:
            self.on_deactivate(state)
        result = self.on_cleanup(state) if self._configured else SUCCESS
        self.done.set()
        return result

    def _attempt(self, step: Callable[[], None]) -> TransitionCallbackReturn:
        # rclpy swallows whatever a transition raises, so it is told here.
        try:
            step()
        except VlocError as error:
            self._refuse(str(error))
            return FAILURE
        except Exception as error:
            self.get_logger().error(traceback.format_exc())
            self._refuse(f"internal error: {error}")
            return ERROR
        return SUCCESS

    _refusal = "a transition failed"

    def _refuse(self, reason: str) -> None:
        self._refusal = reason
        if not self._led:  # whoever asked for the transition is told no more than that it failed
            self.get_logger().error(reason)

    def _check_parameters(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        """All changes of one request are checked together, so that they are taken all or not at all."""
        values = {change.name: change.value for change in changes}
        try:
            for default in self._defaults:
                own = {name: value for name, value in values.items() if name in {key.name for key in keys(default)}}
                self._require_changeable(own)
                if own:
                    params.read(self, default, own)
            for name in self._arrays.keys() & values.keys():
                self._require_changeable([name])
                params.numbers(name, values[name])
            if self._configured:
                self.require_usable(values)
        except VlocError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _require_changeable(self, names: Iterable[str]) -> None:
        name = next((name for name in names if name not in self._live), None)
        if name is not None and self._configured:
            raise VlocError(
                f"'{name}' can be changed only while the node is unconfigured, so nothing was changed: "
                f"ros2 lifecycle set {self.get_fully_qualified_name()} deactivate, cleanup, then configure and activate"
            )


def _of_array(description: str) -> ParameterDescriptor:
    return ParameterDescriptor(description=description, additional_constraints=params.constraint(UNCONFIGURED))
