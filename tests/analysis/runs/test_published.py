"""Published figures carry our names, their source and their protocol."""

from analysis.runs.published import figures, model_name, published


def test_kd_on_wrn_40_2_wrn_16_2_starts_with_crds_last_epoch_figure():
    rows = figures("cifar100", "cifar_wrn_40_2", "cifar_wrn_16_2", "kd")
    first = rows.iloc[0]
    assert (first["top1_percent"], first["protocol"]) == (74.92, "last")
    assert len(rows) > 1


def test_dkd_on_imagenet_is_71_70_of_the_best_epoch():
    first = figures("imagenet", "resnet34", "resnet18", "dkd").iloc[0]
    assert (first["top1_percent"], first["protocol"]) == (71.70, "best")


def test_names_of_the_literature_become_ours():
    assert model_name("wrn_40_2", "cifar100") == "cifar_wrn_40_2"
    assert model_name("MobileNetV2", "cifar100") == "cifar_mobilenet_v2"
    assert model_name("ResNet34", "imagenet") == "resnet34"
    assert model_name("MobileNetV1", "imagenet") == "mobilenetv1_100"


def test_every_row_is_usable():
    rows = published()
    assert len(rows) == 273
    assert rows["method"].notna().all()
    assert rows["dataset"].isin(["cifar100", "imagenet"]).all()
    assert rows["top1_percent"].between(50, 90).all()
    assert set(rows["protocol"]) == {"last", "best", ""}
    assert not rows.duplicated(["dataset", "teacher", "student", "method", "source"]).any()


def test_nothing_is_published_of_dskd():
    assert "dskd" not in set(published()["method"])


def test_the_tag_of_a_teachers_weights_is_no_part_of_its_name():
    plain = figures("imagenet", "resnet34", "resnet18", "kd")
    tagged = figures("imagenet", "resnet34.tv_in1k", "resnet18", "kd")
    assert len(plain) > 0
    assert tagged.equals(plain)
