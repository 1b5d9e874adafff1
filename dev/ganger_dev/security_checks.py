"""The security checks of Ganger: what each one promises, and the tests that prove it or the reason why none does."""

from __future__ import annotations

from dataclasses import dataclass

_CHART = "tests/integration/chart"
_GUARDS = "tests/integration/security"
_ISOLATION = "tests/integration/operator/test_isolation.py"
_DOORS = "tests/integration/session/test_doors.py"
_SESSIONS = "tests/unit/cli/test_dev.py"
_WAYS_IN = "tests/unit/cli/test_devdoors.py"
_CHANNEL = "tests/integration/operator/test_control_channel.py"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One promise. tests: pytest node ids, without parameters all of them. reason: why it does not apply."""

    promise: str
    tests: tuple[str, ...] = ()
    reason: str = ""


def _proved(promise: str, *tests: str) -> Check:
    return Check(promise=promise, tests=tests)


def _none(promise: str, reason: str) -> Check:
    return Check(promise=promise, reason=reason)


CHECKS: dict[str, Check] = {
    "S1": _proved(
        "a namespace that enforces Pod Security restricted takes every pod of ours",
        f"{_GUARDS}/test_operator.py::test_every_pod_that_the_operator_builds_passes_in_a_restricted_namespace",
        f"{_GUARDS}/test_operator.py::test_every_example_is_taken_and_so_are_its_pods",
        f"{_CHART}/test_install.py::test_a_namespace_of_the_level_restricted_takes_the_operators_pod",
    ),
    "S2": _none(
        "the end-to-end tests run in namespaces that enforce restricted",
        "`make e2e` does that: every namespace of tests/e2e carries the label; it needs a kubelet",
    ),
    "S3": _proved(
        "pods of ours are restricted and carry no token of the API, but for the operator's own",
        f"{_GUARDS}/test_operator.py::test_every_pod_that_the_operator_builds_passes_in_a_restricted_namespace",
        "tests/golden/chart/test_render.py::test_the_operators_pod_passes_the_level_restricted",
        "tests/golden/chart/test_render.py::test_only_the_operators_pods_get_the_token",
    ),
    "S4": _proved(
        "an operator of some namespaces has no right in others",
        f"{_CHART}/test_install.py::test_rights_of_watched_namespaces_end_at_their_border",
        f"{_CHART}/test_rights.py::test_an_operator_of_one_namespace_needs_no_right_beyond_it",
    ),
    "S5": _proved(
        "the operator reads no Secret but its certificate, makes none but a session's, enters no pod, becomes nobody",
        f"{_CHART}/test_rights.py::test_the_operators_token_opens_nothing_else",
        "tests/golden/chart/test_rights.py::test_no_role_of_the_chart_has_a_wildcard_or_enters_pods",
        "tests/golden/chart/test_rights.py::test_of_all_secrets_the_operator_may_read_its_own_certificate_alone",
        "tests/integration/security/test_operator.py::test_its_token_makes_no_secret_but_that_of_a_session",
    ),
    "S6": _proved(
        "the rights granted are the rights used, by the audit log of a life of jobs",
        f"{_CHART}/test_rights.py::test_the_chart_grants_what_a_life_of_jobs_uses_and_nothing_else",
    ),
    "S7": _proved(
        "who may make jobs and no pods is refused by the name of that right",
        f"{_GUARDS}/test_submitters.py::test_who_may_not_create_pods_is_refused_with_the_right_that_is_missing",
        f"{_GUARDS}/test_submitters.py::test_who_may_create_pods_submits",
        f"{_GUARDS}/test_submitters.py::test_pods_elsewhere_do_not_count",
        f"{_GUARDS}/test_submitters.py::test_a_change_of_the_spec_needs_the_same_right_and_one_of_the_metadata_does_not",
    ),
    "S8": _proved(
        "who may not use a service account names none, where the chart requires it",
        f"{_GUARDS}/test_submitters.py::test_an_account_must_be_usable_where_that_is_required",
    ),
    "S9": _proved(
        "forty and more escalations are refused as jobs; a lenient client's fields are dropped",
        f"{_GUARDS}/test_operator.py::test_there_are_as_many_escalations_as_were_promised",
        f"{_GUARDS}/test_operator.py::test_no_job_can_ask_for_such_a_pod",
        f"{_GUARDS}/test_operator.py::test_a_field_that_a_lenient_client_slips_in_is_not_stored",
    ),
    "S10": _proved(
        "a stolen token of the operator makes none of these pods, deletes no foreign one, changes keys alone",
        f"{_GUARDS}/test_operator.py::test_the_operators_token_makes_no_such_pod",
        f"{_GUARDS}/test_operator.py::test_kube_system_is_no_place_for_its_pods",
        f"{_GUARDS}/test_operator.py::test_its_token_deletes_no_pod_of_somebody_else",
        f"{_GUARDS}/test_operator.py::test_its_token_changes_nothing_else_of_a_pod",
        f"{_GUARDS}/test_operator.py::test_its_token_changes_no_pod_of_a_job",
        f"{_GUARDS}/test_operator.py::test_its_token_makes_no_service_but_that_of_a_gang",
        f"{_GUARDS}/test_operator.py::test_its_token_makes_no_network_policy_but_that_of_a_job",
    ),
    "S11": _proved(
        "no field of a job reaches another namespace or the node",
        "tests/unit/api/test_crd.py::test_no_field_can_reach_another_namespace_or_the_node",
    ),
    "S12": _proved(
        "a job asks nothing of another namespace: no right, no request there",
        f"{_CHART}/test_rights.py::test_an_operator_of_one_namespace_needs_no_right_beyond_it",
        "tests/unit/app/test_caches.py::test_a_job_sees_what_is_of_its_names_in_its_namespace",
    ),
    "S13": _proved(
        "pods with our names or labels that are not ours change nothing",
        "tests/integration/operator/test_lifecycle.py::test_pod_of_a_stranger_is_neither_adopted_nor_touched",
        "tests/unit/plan/test_decide.py::test_pod_with_a_strange_attempt_label_is_treated_as_old",
    ),
    "S14": _proved(
        "metrics are kept for those who may read them, where that is asked for",
        f"{_CHANNEL}::test_metrics_may_be_kept_for_those_who_may_read_them",
        "tests/unit/observe/test_routes.py::test_a_guarded_route_answers_whom_it_may",
        "tests/unit/observe/test_routes.py::test_nobody_is_let_in_while_nobody_can_be_asked",
    ),
    "S15": _proved(
        "the health port tells nothing of the inside",
        "tests/unit/observe/test_server.py::test_a_route_that_fails_tells_nothing_of_the_inside_and_is_logged",
    ),
    "S16": _proved(
        "no token is logged, at any level (`make e2e` looks for known secrets over a whole cluster)",
        "tests/unit/observe/test_logs.py::test_no_token_is_logged_by_a_request_at_debug",
        "tests/unit/observe/test_logs.py::test_no_token_of_a_kubeconfig_is_logged_at_debug",
        "tests/unit/kube/test_http.py::test_nothing_secret_is_logged",
        f"{_WAYS_IN}::test_connect_prints_the_address_to_stdout_alone_and_ends_with_the_session",
        f"{_WAYS_IN}::test_the_browser_is_sent_through_a_file_that_only_we_may_read",
    ),
    "S17": _proved(
        "notebooks ask for a token, which is in its file and nowhere else",
        f"{_DOORS}::TestToken::test_opens_jupyter_and_nothing_else_does",
        f"{_DOORS}::TestToken::test_is_in_its_file_alone_although_it_is_used",
        f"{_DOORS}::TestToken::test_jupyter_listens_on_loopback_alone",
        "tests/integration/operator/test_session.py::test_a_session_of_the_same_name_never_gets_the_token_of_its_predecessor",
    ),
    "S18": _proved(
        "SSH refuses passwords, root, weak and foreign keys, agents and remote forwarding, and its host key is checked",
        f"{_DOORS}::TestSsh::test_refuses",
        f"{_DOORS}::TestSsh::test_a_changed_file_of_keys_is_in_force_at_the_next_login",
        f"{_DOORS}::TestSsh::test_forwards_to_the_session_and_nothing_back",
        f"{_DOORS}::test_sshd_understands_it_as_it_was_meant",
        f"{_WAYS_IN}::test_ssh_becomes_ssh_with_strict_checking_against_a_file_of_the_session",
        f"{_WAYS_IN}::test_the_proxy_sends_nothing_where_the_host_key_is_not_known",
    ),
    "S19": _proved(
        "ranks of one job reach no other, where the chart isolates jobs (`make e2e` attacks them on a real network)",
        "tests/unit/plan/test_networkpolicy.py::test_it_selects_every_worker_of_its_job_and_nobody_else",
        "tests/chaos/test_plans.py::test_isolation_costs_one_write_and_it_comes_before_the_pods",
        f"{_GUARDS}/test_labels.py::test_no_pod_of_a_tenant_joins_a_gang",
        f"{_GUARDS}/test_labels.py::test_no_worker_leaves_its_gang",
        f"{_ISOLATION}::test_no_pod_is_made_before_the_policy",
        f"{_ISOLATION}::test_the_server_stores_what_was_sent_and_it_is_written_once_in_the_life_of_a_job",
        f"{_ISOLATION}::test_one_of_somebody_else_is_not_touched_and_no_pod_starts_beside_it",
    ),
    "S20": _proved(
        "reports are heard from live pods of the attempt alone, with a token for that job",
        f"{_CHANNEL}::test_who_is_not_a_live_worker_of_the_attempt_is_refused",
        f"{_CHANNEL}::test_a_worker_of_the_attempt_before_is_heard_no_more",
        "tests/unit/control/test_desk.py::test_a_token_of_another_jobs_pod_is_refused_for_this_job",
        "tests/unit/control/test_desk.py::test_a_body_that_is_too_long_is_refused_unread",
        "tests/unit/control/test_tokens.py::test_a_token_for_another_audience_costs_no_review",
        "tests/unit/control/test_tokens.py::test_forgers_cannot_make_more_reviews_than_the_ration",
    ),
    "S21": _proved(
        "no call that runs or unpickles what it reads, in what is shipped",
        "tests/unit/dev/test_security.py::test_nothing_that_is_shipped_makes_a_dangerous_call",
        "tests/unit/dev/test_security.py::test_a_dangerous_call_would_be_found",
    ),
    "S22": _proved(
        "checkpoints are never unpickled, whatever torch it is",
        "tests/unit/trainer/test_source.py::test_nothing_in_the_trainer_pickles",
    ),
    "S23": _proved(
        "hostile checkpoints are refused and run no code",
        "tests/unit/trainer/test_torture.py::test_no_damaged_or_hostile_checkpoint_is_loaded_or_runs_code",
        "tests/unit/trainer/test_torture.py::test_a_manifest_that_vouches_for_a_link_is_refused",
    ),
    "S24": _proved(
        "every package is installed by its hash (no database of vulnerabilities is asked)",
        "tests/unit/dev/test_security.py::test_every_locked_package_has_a_hash",
        "tests/unit/dev/test_images.py::TestDockerfile::test_installs_only_what_the_locks_vouch_for",
    ),
    "S25": _proved(
        "images run as an ordinary user and copy sources last",
        "tests/unit/dev/test_images.py::TestDockerfile::test_runs_as_an_ordinary_user_under_an_init",
        "tests/unit/dev/test_images.py::TestDockerfile::test_builds_on_a_base_of_the_builders_choice",
    ),
    "S26": _none("signatures of chart and images", "nothing is released yet; image.digest pins what you build"),
    "S27": _proved(
        "the API server takes every object of the chart under strict validation",
        f"{_CHART}/test_install.py::test_the_server_takes_every_object_under_strict_validation",
        "tests/golden/chart/test_render.py::test_helm_finds_nothing_to_complain_of",
        f"{_GUARDS}/test_submitters.py::test_the_server_finds_no_mistake_in_the_policies",
    ),
    "S28": _proved(
        "the API server takes the chart under every pair of its values",
        f"{_CHART}/test_matrix.py::test_the_server_takes_every_object_of_every_pair_of_values",
    ),
    "S29": _proved(
        "a quota holds a gang back whole",
        "tests/integration/operator/test_lifecycle.py::test_quota_holds_the_gang_back_whole_and_says_so",
    ),
    "S30": _proved(
        "a big or noisy job does not keep a small one waiting",
        "tests/unit/runtime/test_limiter.py::test_a_small_key_does_not_wait_for_all_of_a_big_one",
        "tests/unit/control/test_desk.py::test_a_worker_that_reports_all_the_time_is_held_back",
        "tests/unit/control/test_desk.py::test_two_workers_do_not_hold_each_other_back",
    ),
    "S31": _proved(
        "servers bound sizes, connections and times of requests",
        "tests/unit/observe/test_server.py::test_a_client_that_sends_a_byte_now_and_then_is_dropped_in_time",
        "tests/unit/observe/test_server.py::test_a_bad_request_gets_its_status_and_the_end_of_the_connection",
        "tests/unit/observe/test_server.py::test_a_probe_is_answered_though_others_hold_every_connection",
    ),
    "S32": _proved(
        "the certificate is renewed in time, and nobody of another authority is spoken to",
        "tests/unit/control/test_certificate.py::test_an_old_certificate_is_renewed_by_the_same_authority",
        "tests/unit/control/test_certificate.py::test_a_client_that_trusts_the_authority_connects_and_another_does_not",
        "tests/unit/trainer/test_channel.py::test_an_operator_of_another_authority_is_told_nothing",
    ),
    "S33": _proved(
        "viewers read jobs and write none; the status is the operator's",
        f"{_CHART}/test_install.py::test_built_in_roles_of_a_namespace_include_its_jobs",
        "tests/golden/chart/test_rights.py::test_users_read_and_edit_jobs_but_not_their_status",
    ),
    "S34": _proved(
        "every request of ours carries our name and field manager",
        "tests/integration/kube/test_http.py::test_our_requests_are_known_by_their_name_and_manager",
    ),
    "S35": _proved(
        "of key files the command line reads public ones alone, and writes public host keys alone",
        f"{_SESSIONS}::test_what_is_no_public_key_is_refused_and_a_private_one_never_sent",
        f"{_SESSIONS}::test_of_a_private_key_the_public_one_beside_it_is_taken",
        f"{_WAYS_IN}::test_the_proxy_writes_the_host_key_of_the_pod_and_carries_bytes",
    ),
    "S36": _proved(
        "dashboards link to each other through variables alone",
        "tests/unit/dashboards/test_shape.py::test_addresses_name_jobs_through_variables_alone",
    ),
}
