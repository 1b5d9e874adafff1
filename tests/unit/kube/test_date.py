from ganger.kube.date import ServerDate

NINE = "Thu, 01 Jan 2026 09:00:00 GMT"
NINE_SECONDS = 1767258000.0


def test_one_answer_tells_the_offset_to_about_a_second():
    date = ServerDate(wall=lambda: NINE_SECONDS - 600.0)

    date.observe(NINE, sent=NINE_SECONDS - 600.1)

    assert abs(date.offset_seconds - 600.0) <= 1.1


def test_many_answers_narrow_the_offset_down():
    local = [0.0]
    date = ServerDate(wall=lambda: local[0])
    offset = 600.37
    for tenth in range(40):
        server = NINE_SECONDS + tenth * 0.1
        local[0] = server - offset
        second = int(server - NINE_SECONDS)
        date.observe(NINE.replace("09:00:00", f"09:00:0{second}"), sent=local[0])

    assert abs(date.offset_seconds - offset) < 0.1


def test_a_clock_that_was_set_voids_what_was_known():
    local = [NINE_SECONDS]
    date = ServerDate(wall=lambda: local[0])
    date.observe(NINE, sent=local[0])
    local[0] = NINE_SECONDS - 600.0

    date.observe(NINE, sent=local[0])

    assert abs(date.offset_seconds - 600.0) <= 1.0


def test_a_header_of_nonsense_is_ignored():
    date = ServerDate(wall=lambda: 0.0)

    date.observe("yesterday", sent=0.0)
    date.observe("", sent=0.0)

    assert date.offset_seconds == 0.0
