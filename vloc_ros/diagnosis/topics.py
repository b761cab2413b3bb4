"""Why nothing comes on a topic, or why it would not."""

from __future__ import annotations

from collections.abc import Sequence

from vloc_ros.diagnosis.facts import Publisher, Qos, TopicFacts
from vloc_ros.diagnosis.finding import Check, Finding, Level, error, fine, warning


def fits(publisher: Publisher, topic: TopicFacts) -> bool:
    """Whether messages of a publisher reach a subscription: it must offer at least what is asked for, and messages of the type."""
    offered, wanted = publisher.qos, topic.wanted
    return publisher.type == topic.type and (offered.reliable or not wanted.reliable) and (offered.latched or not wanted.latched)


def check_topic(topic: TopicFacts) -> Finding | None:
    """The first thing that keeps messages of a topic away; None while it is not sure that anything does."""
    for look in (check_publisher, check_qos, check_silence):
        found = look(topic)
        if found is not None and found.level > Level.OK:
            return found
    return None


def check_publisher(topic: TopicFacts) -> Finding | None:
    """Whether anybody publishes a topic; None before it can be known."""
    if topic.publishers:
        by = ", ".join(sorted({publisher.node for publisher in topic.publishers}))
        return fine(Check.PUBLISHER, f"{topic.name} is published by {by}", topic.name)
    if not topic.silent:
        return None
    source = "the camera" if _of_camera(topic) else "the node that does"
    hint = f"is it {' or '.join(topic.alike[:3])}?" if topic.alike else f"start {source}, or check the remapping"
    return error(Check.PUBLISHER, f"{_nothing(topic)}: nobody publishes it", hint, topic.name)


def check_qos(topic: TopicFacts) -> Finding | None:
    """Whether the publishers' QoS and type fit the subscription; None without publishers."""
    if not topic.publishers:
        return None
    misfits = [publisher for publisher in topic.publishers if not fits(publisher, topic)]
    if not misfits:
        return fine(Check.QOS, f"{topic.name} is asked for as {describe(topic.wanted)}, and offered so", topic.name)
    what, remedy = _misfit(misfits[0], topic)
    if len(misfits) < len(topic.publishers):
        sentence = f"{misfits[0].node} is one of several that publish {topic.name}, and is not heard: {what}"
        return warning(Check.QOS, sentence, remedy, topic.name)
    sentence = f"{_nothing(topic)}: {what}" if topic.silent else f"nothing can come on {topic.name}: {what}"
    return error(Check.QOS, sentence, remedy, topic.name)


def check_silence(topic: TopicFacts) -> Finding | None:
    """Whether messages come; None before it can be known."""
    if not topic.silent:
        return fine(Check.SILENCE, f"{topic.name}: {topic.heard} messages", topic.name) if topic.heard else None
    sentence = f"{_nothing(topic)}, although {len(topic.publishers)} node(s) publish it"
    return error(Check.SILENCE, sentence, "does the camera work?" if _of_camera(topic) else "are they active?", topic.name)


def _of_camera(topic: TopicFacts) -> bool:
    return topic.type.startswith("sensor_msgs/")


def describe(qos: Qos) -> str:
    """The two policies in words."""
    return f"{'reliable' if qos.reliable else 'best effort'}, {'transient local' if qos.latched else 'volatile'}"


def check_domain(topics: Sequence[TopicFacts], environment: dict[str, str]) -> Finding | None:
    """Whether ROS lets this process see any publisher; None when one was found, or a topic like one of these exists."""
    if not topics or any(topic.publishers or topic.alike or not topic.silent for topic in topics):
        return None
    names = ", ".join(topic.name for topic in topics)
    return error(
        Check.DOMAIN,
        f"no publisher of any of {names} is to be seen from here, where {seen_from(environment)}",
        "where the camera runs, compare these variables with `printenv | grep -E 'ROS|RMW'`",
    )


def seen_from(environment: dict[str, str]) -> str:
    """The variables that decide which nodes a process sees, with what they are when they are not set."""
    parts = [f"ROS_DOMAIN_ID is {environment.get('ROS_DOMAIN_ID') or '0 (not set)'}"]
    if environment.get("ROS_LOCALHOST_ONLY", "0") not in ("", "0"):
        parts.append("ROS_LOCALHOST_ONLY hides all other machines")
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    parts.append(f"ROS_AUTOMATIC_DISCOVERY_RANGE is {_REACH.get(reach.upper(), reach)}")
    for name in ("ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER", "RMW_IMPLEMENTATION"):
        if environment.get(name):
            parts.append(f"{name} is {environment[name]}")
    return ", ".join(parts)


_REACH = {
    "": "not set (the whole subnet)",
    "SUBNET": "SUBNET",
    "LOCALHOST": "LOCALHOST (this machine alone)",
    "OFF": "OFF (this process alone)",
    "SYSTEM_DEFAULT": "SYSTEM_DEFAULT (as the middleware is configured)",
}


def _nothing(topic: TopicFacts) -> str:
    return f"nothing has come on {topic.name} for {topic.patience_s:g} s"


def _misfit(publisher: Publisher, topic: TopicFacts) -> tuple[str, str]:
    """Why a publisher is not heard, and what to do."""
    if publisher.type != topic.type:
        remedy = "remap the topic, or set camera.transport" if "mage" in topic.type else "remap the topic"
        return f"{publisher.node} publishes {publisher.type} there, not {topic.type}", remedy
    if topic.wanted.reliable and not publisher.qos.reliable:
        return "it is published best effort but asked for as reliable", "set qos.reliability to auto or best_effort"
    return (
        f"{publisher.node} publishes it volatile, but it is asked for as transient local",
        "let it be published transient local, so that nodes which start later hear it too",
    )
