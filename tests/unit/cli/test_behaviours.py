"""What people expect of a command line like this one, and where it is proved: each behaviour has tests that exist.

A test that is renamed or removed without another one in its place fails here, and so does a behaviour without one.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
UNIT, REAL, PODS = "unit/cli", "integration/cli", "e2e"
BEHAVIOURS = {
    "submit tells name, namespace and the next commands": (
        f"{UNIT}/test_submit.py::test_the_manifest_is_sent_as_it_was_written",
        f"{REAL}/test_cluster.py::test_a_generated_name_is_told_and_names_the_next_commands",
    ),
    "submit --watch attaches; Ctrl-C leaves the job alone and says how to come back": (
        f"{UNIT}/test_submit.py::test_watching_prints_the_logs_and_mirrors_the_end",
        f"{UNIT}/test_submit.py::test_ctrl_c_leaves_the_watched_job_alone_and_says_so",
    ),
    "exit codes mirror the job": (
        f"{REAL}/test_cluster.py::test_submit_and_watch_mirrors_how_the_job_ends",
        f"{REAL}/test_changes.py::test_wait_ends_when_the_status_says_so_and_mirrors_it",
    ),
    "logs of all ranks, merged, with a prefix, chosen by rank, time and text": (
        f"{UNIT}/test_logs.py::test_the_logs_of_a_gang_are_merged_by_time",
        f"{UNIT}/test_logs.py::test_a_rank_is_found_in_its_worker",
        f"{UNIT}/test_logs.py::test_lines_are_chosen_by_what_is_in_them_and_shown_with_their_time",
        f"{PODS}/test_cli.py::test_submitted_job_is_watched_to_its_end_with_the_logs_of_every_worker",
    ),
    "logs follow through restarts": (f"{UNIT}/test_logs.py::test_a_restart_is_followed_and_announced",),
    "logs after the end, and the last lines where the pods are gone": (
        f"{UNIT}/test_logs.py::test_a_finished_job_that_keeps_its_pods_shows_its_logs",
        f"{UNIT}/test_logs.py::test_of_a_job_whose_pods_are_gone_the_last_lines_of_its_failure_are_left",
    ),
    "status begins with a sentence and ends with the next commands": (
        f"{UNIT}/test_commands.py::test_status_tells_the_progress_the_cause_and_the_next_commands",
        f"{UNIT}/test_text.py::test_a_job_in_one_sentence",
    ),
    "hints: the cause and the remedy in a line each": (
        f"{UNIT}/test_hints.py::test_what_a_job_waits_for_is_told_with_a_remedy",
        f"{UNIT}/test_hints.py::test_what_a_job_died_of_is_told_with_a_remedy",
    ),
    "list has the columns of kubectl, chooses and sorts": (
        f"{UNIT}/test_commands.py::test_list_prints_the_columns_of_kubectl_and_three_more",
        f"{UNIT}/test_listing.py::test_jobs_are_chosen_and_sorted",
    ),
    "json, yaml and names for scripts": (
        f"{UNIT}/test_commands.py::test_list_gives_scripts_json_yaml_and_names",
        f"{UNIT}/test_export.py::test_scripts_get_json_with_the_whole_digest",
        f"{UNIT}/test_metrics.py::test_scripts_read_numbers",
    ),
    "wait for an end or a checkpoint, with a time limit, by a watch": (
        f"{UNIT}/test_wait.py::test_a_checkpoint_of_a_step_or_a_later_one_is_waited_for",
        f"{REAL}/test_changes.py::test_wait_gives_up_in_time",
    ),
    "watch is a screen in a terminal and lines in a pipe": (
        f"{REAL}/test_watch.py::test_a_status_that_changes_changes_the_screen_and_the_end_of_the_job_ends_the_watch",
        f"{REAL}/test_watch.py::test_a_pipe_gets_lines",
    ),
    "every object is shown without a cluster; the server is asked by --dry-run=server": (
        f"{UNIT}/test_offline.py::test_render_prints_what_the_builders_make",
        f"{UNIT}/test_submit.py::test_a_dry_run_of_the_client_opens_no_cluster_and_prints_what_would_be_sent",
        f"{REAL}/test_cluster.py::test_a_dry_run_of_the_server_shows_what_it_would_store_and_refuse_and_stores_nothing",
    ),
    "validate tells every mistake with its line, offline": (
        f"{UNIT}/test_offline.py::test_every_mistake_has_its_line_in_the_order_of_the_file",
        f"{UNIT}/test_offline.py::test_offline_commands_load_neither_torch_nor_a_client_library",
    ),
    "diff tells each field and what its change does": (
        f"{UNIT}/test_diff.py::test_each_field_is_told_with_what_its_change_does",
        f"{REAL}/test_diff.py::test_the_end_of_a_diff_is_that_of_the_apply",
    ),
    "run trains the same manifest without a cluster": (
        f"{REAL}/test_run.py::test_a_gang_of_two_trains_with_checkpoints_in_a_folder_of_the_job",
        f"{REAL}/test_run.py::test_ctrl_c_saves_a_checkpoint_and_the_same_command_goes_on_from_it",
    ),
    "suspend, resume, retry and delete keep what they say they keep": (
        f"{REAL}/test_changes.py::test_suspend_and_resume_change_one_field_and_are_idempotent",
        f"{REAL}/test_changes.py::test_a_failed_job_is_made_anew_as_it_is_stored",
        f"{REAL}/test_cluster.py::test_deleting_asks_first_and_does_nothing_without_an_answer",
    ),
    "checkpoints ls, get, rm and prune": (
        f"{UNIT}/test_checkpoints.py::test_a_row_tells_what_the_status_knows_and_what_is_left",
        f"{UNIT}/test_inspection.py::test_what_the_manifest_of_a_checkpoint_says_is_told",
        f"{UNIT}/test_inspection.py::test_a_checkpoint_of_a_job_that_rests_is_deleted_by_way_of_another_name",
        f"{REAL}/test_checkpoints.py::test_what_is_saved_and_what_is_left_is_listed_and_the_latter_pruned",
    ),
    "export tells how far each file is from the model": (
        f"{UNIT}/test_export.py::test_a_file_is_made_by_a_job_of_its_own_and_told_in_a_table",
        f"{PODS}/test_export.py::test_ganger_export_makes_a_file_of_an_older_checkpoint",
    ),
    "cp brings files of a job here and there": (
        f"{PODS}/test_cli.py::test_files_of_a_job_come_here_and_go_back_while_it_trains_and_while_it_rests",
    ),
    "metrics now, and as they come": (f"{REAL}/test_metrics.py::test_figures_are_read_once_or_as_they_come",),
    "top by job and by node": (
        f"{UNIT}/test_top.py::test_jobs_are_told_with_what_their_living_pods_hold",
        f"{UNIT}/test_top.py::test_nodes_are_told_with_what_pods_of_any_kind_hold",
    ),
    "dev sessions: up, ls, connect, ssh, stop": (
        f"{REAL}/test_dev.py::test_a_session_is_made_listed_stopped_started_again_and_deleted",
        f"{PODS}/test_devcli.py::test_ssh_runs_commands_with_their_exit_code_and_the_host_block_lets_scp_in",
        f"{PODS}/test_devcli.py::test_a_connection_outlives_the_pod_and_ends_with_the_session",
    ),
    "a shell in a worker, and in a pod like one": (
        f"{PODS}/test_devcli.py::test_shell_runs_in_the_worker",
        f"{PODS}/test_devcli.py::test_a_new_shell_is_in_a_pod_of_its_own_with_the_jobs_checkpoints",
    ),
    "doctor finds what is to mend, with its remedy": (
        f"{UNIT}/test_doctor.py::test_what_is_to_mend_ends_with_1_and_has_its_remedy_below",
        f"{REAL}/test_doctor.py::test_a_user_without_rights_is_told_which_lack",
        f"{PODS}/test_cli.py::test_the_chart_leaves_nothing_to_mend",
    ),
    "report is everything for a bug report, without secrets": (
        f"{UNIT}/test_bundle.py::test_everything_is_in_it_and_no_secret_is",
        f"{PODS}/test_devcli.py::test_known_secrets_are_nowhere_but_in_secrets",
    ),
    "init scaffolds what runs, examples lists what runs": (
        f"{PODS}/test_cli.py::test_the_script_of_init_trains_on_the_cluster_and_leaves_what_prune_takes",
        f"{UNIT}/test_examples.py::test_one_is_printed_as_it_is_and_is_valid",
    ),
    "completion of names in three shells and of the plug-in": (
        f"{UNIT}/test_completion.py::test_another_shell_takes_its_script_and_completes",
        f"{REAL}/test_completion.py::test_bash_completes_the_name_of_a_job",
        f"{REAL}/test_completion.py::test_kubectl_completes_its_plug_in",
    ),
    "the options of the cluster, in the environment too": (
        f"{UNIT}/test_target.py::test_options_and_environment_say_the_same_and_an_option_wins",
        f"{REAL}/test_cluster.py::test_another_user_is_asked_for_and_has_no_rights_of_the_kubeconfigs",
    ),
    "an error is three lines, never a traceback, and soon": (
        f"{UNIT}/test_commands.py::test_an_error_that_nobody_foresaw_is_three_lines_and_a_traceback_only_with_debug",
        f"{UNIT}/test_target.py::test_a_cluster_that_does_not_answer_is_told_within_five_seconds",
    ),
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_behaviour_has_tests_that_are_there(behaviour):
    missing = []
    for node in BEHAVIOURS[behaviour]:
        file, _, name = node.partition("::")
        if not re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text(), re.MULTILINE):
            missing.append(node)
    assert [] == missing
