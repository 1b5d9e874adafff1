"""What a release takes along besides the chart's own objects."""

import pytest

from golden.chart.rendered import Refused


def test_further_objects_are_templates_whether_they_are_objects_or_texts(chart):
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-one"}}
    other = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include "ganger.fullname" . }}-other\n'
    names = {found["metadata"]["name"] for found in chart.objects({"extraObjects": [one, other]})}

    assert {"ganger-one", "ganger-other"} <= names


def test_a_text_that_is_no_object_is_refused(chart):
    with pytest.raises(Refused, match="extraObjects"):
        chart.text({"extraObjects": [""]})
