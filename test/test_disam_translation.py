"""What learns in DISAM: both ways of translation, pools of translated images, hard negatives."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="networks need torch")

from vloc_ros.networks.disam_form import DisamForm, Stage  # noqa: E402
from vloc_ros.networks.translation import DisturbanceSettings, TranslationNetwork, random_translation  # noqa: E402

FORM = DisamForm(2, 32, 32, Stage.FINE, ("summer", "winter", "night"))
POOL = 3


def network(pool: int = POOL) -> TranslationNetwork:
    """All conditions have weights of their own."""
    made = random_translation(FORM, 2, pool, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made


def images(count: int, seed: int = 0) -> torch.Tensor:
    return 2.0 * torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) - 1.0


NO_CANDIDATES = torch.zeros(2, 0, 3, 32, 32)


def test_images_go_to_the_other_condition_and_back():
    made = network().eval()
    first, second = images(2), images(2, seed=1)
    found = made(first, second, NO_CANDIDATES, 2, 0)
    domains = made.domains
    for side, given, a, b in ((found.first, first, 2, 0), (found.second, second, 0, 2)):
        torch.testing.assert_close(side.latent, domains.encode(given, a))
        torch.testing.assert_close(side.translated, domains.decode(domains.encode(given, a), b))
        torch.testing.assert_close(side.again, domains.encode(side.translated, b))
        torch.testing.assert_close(side.cycled, domains.decode(side.again, a))
        assert side.cycled.shape == given.shape and len(side.deceived) == len(side.real) == len(side.made) == 4
        for scale, expected in zip(side.deceived, made.discriminators[b](side.translated), strict=True):
            torch.testing.assert_close(scale, expected)
        for scale, expected in zip(side.real, made.discriminators[a](given), strict=True):
            torch.testing.assert_close(scale, expected)
        torch.testing.assert_close(side.logits, domains.logits(given))
    # the discriminator of each condition judges what was made of the other's images
    for side, other, condition in ((found.first, found.second, 2), (found.second, found.first, 0)):
        for scale, expected in zip(side.made, made.discriminators[condition](other.translated), strict=True):
            torch.testing.assert_close(scale, expected)
    assert torch.equal(found.negative, found.second.latent)  # without candidates


def reached(made: TranslationNetwork, value: torch.Tensor) -> set[str]:
    """Parts whose weights get a gradient of it."""
    made.zero_grad(set_to_none=True)
    value.backward(retain_graph=True)
    named = [name for name, parameter in made.named_parameters() if parameter.grad is not None and parameter.grad.any()]
    return {".".join(name.split(".")[: 3 if name.startswith("domains") else 2]) for name in named}


def test_each_side_of_the_game_moves_its_own_weights_alone():
    made = network().eval()
    found = made(images(2), images(2, seed=1), NO_CANDIDATES, 0, 1)
    deceived, real, fake = (sum(scale.sum() for scale in scales) for scales in found.first[4:7])
    assert reached(made, deceived) == {"domains.encoders.0", "domains.decoders.1"}
    assert reached(made, real) == reached(made, fake) == {"discriminators.0"}
    assert all(parameter.requires_grad for parameter in made.parameters())


def test_the_nearest_candidate_is_the_negative():
    made = network().eval()
    first, second = images(2), images(2, seed=1)
    anchors = made(first, second, NO_CANDIDATES, 0, 1).first
    # what the first becomes is itself the nearest to what becomes of it
    candidates = torch.stack([images(2, seed=5), anchors.translated.detach(), images(2, seed=6)], dim=1)
    candidates[1] = candidates[1, [1, 0, 2]]
    found = made(first, second, candidates, 0, 1)
    torch.testing.assert_close(found.negative, anchors.again, atol=1e-5, rtol=1e-5)
    assert found.negative.shape == anchors.latent.shape
    # one of several that are none: by its distance to the anchor
    others = torch.stack([images(2, seed=seed) for seed in range(7, 12)], dim=1)
    found = made(first, second, others, 0, 1)
    for row in range(2):
        latents = made.domains.encode(others[row], 1).detach()
        distances = [float(((latent - anchors.again[row].detach()) ** 2).mean()) for latent in latents]
        torch.testing.assert_close(found.negative[row], latents[distances.index(min(distances))])
    assert "domains.encoders.1" in reached(made, found.negative.sum())


def test_a_pool_fills_with_what_was_translated_in_8_bits():
    made = network().train()
    assert made.pool.shape == (3, POOL, 3, 32, 32) and made.pool.dtype == torch.uint8
    first, second = images(2), images(2, seed=1)
    found = made(first, second, NO_CANDIDATES, 0, 1)
    assert made.pooled.tolist() == [2, 2, 0] and not made.pool[2].any()
    for condition, side in ((1, found.first), (0, found.second)):
        kept = made.pool[condition, :2].float() / 127.5 - 1.0
        assert float((kept - side.translated.detach()).abs().max()) <= 0.5 / 127.5 + 1e-6
        # a discriminator sees images of 8 bits, as real ones are
        judging = found.second if condition == 1 else found.first
        for scale, expected in zip(judging.made, made.discriminators[condition](kept), strict=True):
            torch.testing.assert_close(scale, expected)
    for seed in range(2, 5):
        made(images(2, seed), images(2, seed + 10), NO_CANDIDATES, 0, 1)
    assert made.pooled.tolist() == [POOL, POOL, 0]


def test_a_full_pool_gives_old_ones_half_of_the_time():
    made = network(pool=2).train()
    torch.manual_seed(0)
    made._from_pool(torch.full((2, 3, 32, 32), -1.0), 0)
    shown = []
    for step in range(200):
        value = step / 127.5 - 1.0 + 1.0 / 127.5
        shown.append(float(made._from_pool(torch.full((1, 3, 32, 32), value), 0)[0, 0, 0, 0] * 127.5 + 127.5) - step - 1.0)
    newest = [abs(difference) < 0.5 for difference in shown]
    assert 80 <= sum(newest) <= 120
    assert all(difference < 0.5 for difference in shown)  # the others are of before
    assert made.pooled.tolist() == [2, 0, 0]


@pytest.mark.parametrize(("size", "learning"), [(POOL, False), (0, True)])
def test_a_validation_leaves_the_pool_alone(size, learning):
    made = network(size).train(learning)
    found = made(images(2), images(2, seed=1), NO_CANDIDATES, 0, 1)
    assert not made.pool.any() and not made.pooled.any()
    for scale, expected in zip(found.second.made, made.discriminators[1](found.first.translated), strict=True):
        torch.testing.assert_close(scale, expected)


def test_a_state_dict_holds_the_pool_too():
    made, other = network().train(), network().train()
    made(images(2), images(2, seed=1), NO_CANDIDATES, 0, 1)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.pool, made.pool) and other.pooled.tolist() == [2, 2, 0]
    assert not any("blur" in name for name in made.state_dict())  # a constant is nobody's to change


def test_translated_images_are_disturbed_while_it_learns_alone():
    made = network()
    disturbed = TranslationNetwork(made.domains, 2, 0, 1, DisturbanceSettings(noise=0.5, shift=0.1, zoom=0.1))
    first, second = images(2), images(2, seed=1)
    found = disturbed.eval()(first, second, NO_CANDIDATES, 2, 0).first
    torch.testing.assert_close(found.again, made.domains.encode(found.translated, 0))
    torch.manual_seed(1)
    learning = disturbed.train()(first, second, NO_CANDIDATES, 2, 0).first
    torch.testing.assert_close(learning.translated, found.translated)
    assert (learning.again - found.again).abs().mean() > 0.01


def test_disturbances_are_those_that_are_asked_for():
    ramp = torch.linspace(-1.0, 1.0, 32).expand(50, 3, 32, 32)
    domains = network().domains
    torch.manual_seed(1)
    moved = TranslationNetwork(domains, 2, 0, 1, DisturbanceSettings(shift=0.1))._disturbed(ramp)
    shifts = (moved - ramp)[:, 0, 16, 16] / (2.0 / 31.0) / 32.0  # of the width
    assert shifts.abs().max() <= 0.1 + 1e-4 and shifts.abs().max() > 0.08
    noisy = TranslationNetwork(domains, 2, 0, 1, DisturbanceSettings(noise=0.2))._disturbed(ramp) - ramp
    deviations = noisy.flatten(1).std(dim=1)
    assert deviations.max() < 0.21 and deviations.max() > 0.15 and deviations.min() < 0.05 and noisy.mean().abs() < 0.01
