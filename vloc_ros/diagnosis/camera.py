"""All checks of the input of a camera, in the order in which one trouble makes the next ones meaningless."""

from __future__ import annotations

from vloc_ros.diagnosis.calibration import check_calibration, check_distortion, check_sizes
from vloc_ros.diagnosis.facts import CameraFacts
from vloc_ros.diagnosis.finding import Check, Finding, Level, error, fine
from vloc_ros.diagnosis.frames import check_tf
from vloc_ros.diagnosis.images import check_emitter, check_moment, check_rows
from vloc_ros.diagnosis.stamps import check_clock, check_rate, check_skew
from vloc_ros.diagnosis.topics import check_domain, check_publisher, check_qos, check_silence


def examine(camera: CameraFacts) -> list[Finding]:
    """What can be said of the input of a camera; checks that lack what they look at say nothing."""
    return [*examine_topics(camera), *examine_messages(camera), *examine_pixels(camera)]


def examine_topics(camera: CameraFacts) -> list[Finding]:
    """What the graph of nodes tells: publishers, QoS, and topics from which nothing comes."""
    found: list[Finding | None] = [check_domain([*camera.images, *camera.infos], camera.environment)]
    for topic in camera.images:
        looks = [check_publisher(topic), check_qos(topic)]
        found += looks
        if _all_fine(looks):
            found.append(check_silence(topic))
    for topic, calibration in zip(camera.infos, camera.calibrations, strict=True):
        looks = [check_publisher(topic), check_qos(topic)]
        if calibration is not None:  # it came, and once is enough: whoever published it may have gone
            looks = [one for one in looks if one is not None and one.level is Level.OK]
            found += [*looks, fine(Check.CAMERA_INFO, f"{topic.name}: {topic.heard} messages", topic.name)]
            continue
        found += looks
        silent = check_silence(topic) if _all_fine(looks) else None
        if silent is not None and silent.level > Level.OK:
            found.append(error(Check.CAMERA_INFO, silent.sentence, "let the driver publish it with the images", topic.name))
    return [one for one in found if one is not None]


def examine_messages(camera: CameraFacts) -> list[Finding]:
    """What the messages tell without their pixels."""
    known = [one for one in camera.calibrations if one is not None]
    found: list[Finding | None] = []
    if len(known) == len(camera.infos):
        found += check_calibration(known, camera.baseline)
    found.append(check_sizes(camera.names, camera.streams, known))
    for topic, name, calibration in zip(camera.images, camera.names, camera.calibrations, strict=False):
        if calibration is not None:
            found.append(check_distortion(topic, name, calibration))
    if not any(topic.silent for topic in camera.images):
        found.append(check_skew(camera.names, camera.streams, camera.slop_s, camera.paired))
    found.append(check_clock(camera.clock, camera.streams))
    found.append(check_rate(camera.names, camera.streams))
    if camera.tf is not None:
        found.append(check_tf(camera.tf))
    return [one for one in found if one is not None]


def examine_pixels(camera: CameraFacts) -> list[Finding]:
    """What the pixels of one pair tell; a fraction of a second of work."""
    if camera.damage:
        remedy = "set camera.type, or the encoding of the driver, to fit"
        return [error(Check.DECODING, f"an image cannot be used: {camera.damage}", remedy)]
    if camera.pixels is None:
        return []
    left, right = camera.pixels
    found = [fine(Check.DECODING, "the images can be decoded"), check_emitter(camera.names[0], left)]
    if right is not None:
        found += [check_rows(left, right), check_moment(left, right)]
    return [one for one in found if one is not None]


def _all_fine(findings: list[Finding | None]) -> bool:
    return all(one is not None and one.level is not Level.ERROR for one in findings)
