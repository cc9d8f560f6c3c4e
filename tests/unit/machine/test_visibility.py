from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.resources import Gpu
from pytest_nbgroups.machine.visibility import container_visible, cuda_visible, order_remark

A, B, C = (f"GPU-{digit * 8}-aaaa" for digit in "123")
M1, M2 = "MIG-11111111-bbbb", "MIG-22222222-bbbb"


def gpu(uuid: str, index: int, *, parent: str | None = None, name: str = "A100") -> Gpu:
    return Gpu(uuid=uuid, index=index, name=name, total_bytes=1, free_bytes=1, parent_uuid=parent)


THREE = (gpu(A, 0), gpu(B, 1), gpu(C, 2))
WITH_MIG = (gpu(A, 0), gpu(M1, 1, parent=B), gpu(M2, 1, parent=B))


def cuda(text: str, gpus: tuple[Gpu, ...] = THREE) -> list[str]:
    return [g.uuid for g in cuda_visible(gpus, {"CUDA_VISIBLE_DEVICES": text}).gpus]


def granted(text: str, gpus: tuple[Gpu, ...] = THREE) -> list[str]:
    return [g.uuid for g in container_visible(gpus, {"NVIDIA_VISIBLE_DEVICES": text}).gpus]


def test_unset() -> None:
    """An unset variable shows all GPUs and calls for no remark."""
    visible = cuda_visible(THREE, {})
    assert (visible.gpus, visible.remark) == (THREE, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("2,1", [C, B]),
        (" 1 , 0 ", [B, A]),
        ("+1,02", [B, C]),
        ("1gpu2,2ampere", [B, C]),
        ("0,2,-1,1", [A, C]),
        ("0,9,1", [A]),
        ("0,,1", [A]),
        ("0,", [A]),
        (",0", []),
        ("1,1", []),
        ("0,1,00", []),
        pytest.param("9" * 5000, [], id="endless"),
        pytest.param("\u0661", [], id="other digits"),
    ],
)
def test_indices(text: str, expected: list[str]) -> None:
    """Indices keep their order, the first invalid one ends the list, a double one empties it."""
    assert cuda(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (B, [B]),
        ("GPU-2,GPU-1", [B, A]),
        ("GPU-", []),
        ("GPU-ffff", []),
        ("gpu-1", []),
        (f"{A},1", [A]),
        (f"0,{B}", [A]),
        (f"{A},{A}", []),
        (f"{A},GPU-1", []),
        (f"{C},GPU-9,{A}", [C]),
    ],
)
def test_uuids(text: str, expected: list[str]) -> None:
    """The beginning of a UUID must fit one GPU, and does not mix with indices."""
    assert cuda(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (M2, [M2]),
        (f"{M2},{M1}", [M2, M1]),
        ("MIG-1", [M1]),
        ("MIG-", []),
        ("1", [M1]),
        ("0,1", [A, M1]),
        (B, [M1]),
        (f"{A},{M1}", [A]),
        ("1,1", []),
    ],
)
def test_mig(text: str, expected: list[str]) -> None:
    """MIG devices go by their UUIDs; their GPU stands for the first of them."""
    assert cuda(text, WITH_MIG) == expected


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("0,1", ""),
        ("0,-1", ""),
        ("0,", ""),
        ("", "CUDA_VISIBLE_DEVICES=''"),
        ("-1", "CUDA_VISIBLE_DEVICES='-1'"),
        ("1,1", "CUDA_VISIBLE_DEVICES='1,1' names a GPU twice"),
        ("0,9,1", "CUDA ignores CUDA_VISIBLE_DEVICES='0,9,1' from '9' on"),
        ("0,,1", "CUDA ignores CUDA_VISIBLE_DEVICES='0,,1' from '' on"),
        pytest.param("x" * 99, f"CUDA_VISIBLE_DEVICES='{'x' * 44}...'", id="long"),
    ],
)
def test_remarks(text: str, remark: str) -> None:
    """What a variable leaves out unintentionally, and why it leaves nothing, is said in one line."""
    assert cuda_visible(THREE, {"CUDA_VISIBLE_DEVICES": text}).remark == remark


@given(st.one_of(st.text(), st.lists(st.sampled_from(["0", "1", "9", "-1", A, B, M1, "GPU-", ""]))))
def test_any_text(value: str | list[str]) -> None:
    """Whatever the variables hold, the visible GPUs are some of those given, none twice."""
    text = value if isinstance(value, str) else ",".join(value)
    for visible in (cuda(text, WITH_MIG), granted(text, WITH_MIG)):
        assert len(set(visible)) == len(visible)
        assert set(visible) <= {g.uuid for g in WITH_MIG}


@given(st.permutations(range(3)), st.integers(0, 3))
def test_order_of_valid_entries(order: list[int], length: int) -> None:
    """Valid and different entries are all visible, in the order given, as indices and as UUIDs."""
    wanted = [THREE[n] for n in order[:length]]
    uuids = [g.uuid for g in wanted]
    assert cuda(",".join(str(g.index) for g in wanted)) == uuids
    assert cuda(",".join(uuids)) == uuids


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (B, [B]),
        (f"{C}, {A}", [A, C]),
        ("GPU-1", [A]),
        ("GPU-ffff", []),
        ("all", [A, B, C]),
        ("void", [A, B, C]),
        ("", [A, B, C]),
        ("0,1", [A, B, C]),
    ],
)
def test_container(text: str, expected: list[str]) -> None:
    """A privileged container owns the GPUs whose UUIDs it was given, though it sees all."""
    assert granted(text) == expected


def test_container_mig() -> None:
    """A container is given a MIG device, or a GPU with all of its MIG devices."""
    assert granted(M2, WITH_MIG) == [M2]
    assert granted(B, WITH_MIG) == [M1, M2]


@pytest.mark.parametrize(
    ("names", "env", "warns"),
    [
        (("A100", "T4"), {"CUDA_VISIBLE_DEVICES": "1"}, True),
        (("A100", "A100"), {"CUDA_VISIBLE_DEVICES": "1"}, False),
        (("A100", "T4"), {"CUDA_VISIBLE_DEVICES": A}, False),
        (("A100", "T4"), {}, False),
        (
            ("A100", "T4"),
            {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            False,
        ),
    ],
)
def test_order(names: tuple[str, str], env: dict[str, str], warns: bool) -> None:  # noqa: FBT001  a parameter of the test
    """Indices of unlike GPUs are uncertain unless CUDA orders them as NVML does."""
    gpus = (gpu(A, 0, name=names[0]), gpu(B, 1, name=names[1]))
    expected = (
        "CUDA may number GPUs of different models in another order than CUDA_VISIBLE_DEVICES means; "
        "set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )
    assert order_remark(gpus, env) == (expected if warns else "")
