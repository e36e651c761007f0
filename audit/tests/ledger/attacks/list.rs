//! The list.

const AUDIT: &str = "audit/src";
const LEDGER: &str = "audit/tests/ledger";
const POSTGRES: &str = "audit/tests/postgres";
const GATEWAY: &str = "tests/gateway";

pub(super) type Held = (&'static str, &'static str, &'static [&'static str]);

/// Number and what is done; folder, file and tests.
pub(super) const ATTACKS: &[(u8, &str, &[Held])] = &[
    (
        1,
        "every bit of a record is flipped",
        &[
            (LEDGER, "tampering", &["every_flipped_bit_of_a_record_names_that_record"]),
            (
                LEDGER,
                "discloses",
                &["every_flipped_bit_of_a_disclosed_capsule_and_its_key_is_noticed"],
            ),
        ],
    ),
    (
        2,
        "every byte of tile, bundle, checkpoint, signature, key id and vkey is changed",
        &[
            (LEDGER, "tampering", &["every_changed_byte_of_every_other_file_is_noticed"]),
            (
                AUDIT,
                "note_tests",
                &[
                    "no_changed_byte_of_a_signed_head_opens",
                    "no_changed_bit_of_a_verifier_key_opens_anything",
                ],
            ),
            (AUDIT, "tlog_proof_tests", &["no_changed_byte_of_a_proof_proves_anything"]),
        ],
    ),
    (
        3,
        "two rows, two bodies, or two tenants' rows are swapped",
        &[
            (
                LEDGER,
                "tampering",
                &[
                    "swapped_deleted_inserted_and_truncated_records_are_told_apart",
                    "records_of_another_tenant_do_not_pass",
                ],
            ),
            (LEDGER, "discloses", &["bodies_of_two_records_that_changed_places_are_named"]),
        ],
    ),
    (
        4,
        "a row is deleted and the rest renumbered; a forged row is inserted",
        &[(
            LEDGER,
            "tampering",
            &[
                "a_deleted_record_is_found_even_when_the_rest_is_renumbered_and_relinked",
                "swapped_deleted_inserted_and_truncated_records_are_told_apart",
            ],
        )],
    ),
    (
        5,
        "the tail is cut off; yesterday's file is put back",
        &[
            (LEDGER, "opens", &["an_older_copy_put_back_is_torn"]),
            (
                LEDGER,
                "publishes",
                &[
                    "an_older_copy_of_the_database_is_refused",
                    "an_older_copy_of_database_and_note_is_refused_by_the_shown_checkpoint",
                ],
            ),
            (
                LEDGER,
                "tampering/signed",
                &["a_checkpoint_seen_before_finds_a_log_that_was_rolled_back_or_written_anew"],
            ),
            (GATEWAY, "survives", &["no_ledger_that_lost_an_acknowledged_record"]),
        ],
    ),
    (
        6,
        "a history is rewritten and signed with the real key",
        &[
            (
                LEDGER,
                "tampering/signed",
                &["a_log_written_and_signed_anew_is_forked_from_what_the_deployments_log_noted"],
            ),
            (
                AUDIT,
                "witness/witness_tests",
                &["a_history_rewritten_under_the_real_key_is_caught_by_its_witness_alone"],
            ),
        ],
    ),
    (
        7,
        "two checkpoints of one size",
        &[
            (AUDIT, "witness/witness_tests", &["two_heads_of_one_size_are_never_both_cosigned"]),
            (AUDIT, "fork", &["two_heads_of_one_size_prove_a_fork_to_whoever_has_the_key"]),
            (
                GATEWAY,
                "witnessed",
                &["of_two_histories_under_one_key_one_is_cosigned_and_the_fork_is_proved"],
            ),
        ],
    ),
    (
        8,
        "a node is given for a leaf; sizes at every border",
        &[(
            AUDIT,
            "merkle/proof_tests",
            &[
                "the_bytes_of_a_node_are_never_a_record",
                "sizes_around_the_width_of_a_tile_and_of_a_tile_of_tiles_are_proved",
                "the_empty_tree_has_no_leaf_and_begins_every_tree",
            ],
        )],
    ),
    (
        9,
        "a checkpoint or a cosignature is used for another log, again, or from the future",
        &[
            (AUDIT, "note_tests", &["a_note_of_another_key_or_log_does_not_open"]),
            (
                AUDIT,
                "note/cosignature_tests",
                &["a_cosignature_of_another_witness_or_head_does_not_count"],
            ),
            (
                AUDIT,
                "policy/policy_tests",
                &["a_cosignature_of_the_future_is_shown_and_does_not_count"],
            ),
        ],
    ),
    (
        10,
        "JSON with two meanings, other numbers, too long",
        &[
            (
                AUDIT,
                "canonical_tests",
                &[
                    "refuses_what_has_more_than_one_byte_form",
                    "refuses_more_than_65535_bytes_and_deep_nesting",
                ],
            ),
            (LEDGER, "refuses", &["what_the_format_does_not_allow_is_refused_before_the_queue"]),
        ],
    ),
    (
        11,
        "a prune without an export, too far, or over an edited row",
        &[(
            LEDGER,
            "prunes",
            &[
                "an_export_that_does_not_cover_it_prunes_nothing",
                "a_prune_record_says_all_that_it_must_and_gives_up_nothing_newer_than_its_export",
                "a_record_that_was_edited_is_evidence_and_is_not_pruned",
            ],
        )],
    ),
    (
        12,
        "two adjacent checkpoints are deleted",
        &[(LEDGER, "anchors", &["two_adjacent_anchors_that_were_deleted_are_reported"])],
    ),
    (
        13,
        "the clock jumps; a leap second",
        &[
            (
                LEDGER,
                "clocks",
                &["a_leap_second_and_a_clock_that_is_set_change_no_order_and_are_flagged"],
            ),
            (AUDIT, "record/parse", &["instants_in_other_forms_are_refused"]),
            (LEDGER, "prunes/processes", &["a_clock_that_was_set_back_makes_nothing_older"]),
            (
                GATEWAY,
                "clocks",
                &["a_clock_that_jumps_changes_no_order_is_flagged_and_a_witness_contradicts_it"],
            ),
        ],
    ),
    (
        14,
        "16 threads x 8 processes x 2 replicas on one log",
        &[(
            POSTGRES,
            "crowds",
            &[
                "a_crowd_of_processes_leaves_one_contiguous_log_without_a_fork",
                "a_crowd_of_processes_leaves_one_contiguous_log_of_100_000_records",
            ],
        )],
    ),
    (
        15,
        "a paused writer goes on after its lease",
        &[(POSTGRES, "fences", &["a_replica_that_slept_past_its_lease_is_refused"])],
    ),
    (
        16,
        "a failover, a standby that lags, a lock that somebody holds",
        &[
            (
                POSTGRES,
                "failover",
                &[
                    "a_standby_that_is_waited_for_takes_over_and_nothing_acknowledged_is_lost",
                    "without_its_standby_no_intent_is_acknowledged_and_with_it_service_resumes",
                    "a_standby_that_has_not_applied_a_record_has_not_acknowledged_it_where_that_is_wanted",
                    "a_commit_that_was_cut_off_its_standby_is_not_acknowledged_when_it_is_found_again",
                    "a_standby_that_lost_acknowledged_records_is_refused_by_name",
                ],
            ),
            (
                POSTGRES,
                "outages",
                &[
                    "a_head_that_somebody_holds_hangs_nobody",
                    "a_database_that_serializes_by_default_fails_nobody",
                ],
            ),
        ],
    ),
    (
        17,
        "two processes on one file",
        &[(LEDGER, "opens", &["a_second_opener_is_told_that_the_ledger_is_locked"])],
    ),
    (
        18,
        "kill -9 at every step",
        &[
            (
                LEDGER,
                "crashes",
                &[
                    "kill_dash_nine_at_random_moments_loses_nothing_acknowledged",
                    "every_crash_point_of_the_writer_loses_nothing_acknowledged",
                ],
            ),
            (
                POSTGRES,
                "crashes",
                &[
                    "kill_dash_nine_at_random_moments_loses_nothing_acknowledged",
                    "every_crash_point_of_the_writer_loses_nothing_acknowledged",
                ],
            ),
            (LEDGER, "prunes/processes", &["killed_at_any_step_it_goes_on_and_records_one_prune"]),
            (LEDGER, "keys", &["killed_at_any_step_it_goes_on_and_no_head_is_told_in_two_ways"]),
            (GATEWAY, "survives", &["kill_at_every_step"]),
            (GATEWAY, "rotates", &["under_load_and_killed_at_each_step"]),
            (
                "secrets/tests",
                "kill",
                &[
                    "killed_at_any_step_of_a_rotation_every_value_opens_and_it_goes_on",
                    "an_erasure_that_is_killed_is_finished_when_the_table_is_opened_next",
                ],
            ),
        ],
    ),
    (
        19,
        "the power is lost",
        &[(
            LEDGER,
            "power",
            &[
                "a_power_loss_at_random_moments_loses_nothing_acknowledged",
                "a_promise_without_a_sync_would_be_found",
            ],
        )],
    ),
    (
        20,
        "torn pages and frames, a flipped bit, journals that are gone or old",
        &[
            (
                LEDGER,
                "pages",
                &[
                    "no_torn_page_of_the_database_loses_anything_silently",
                    "a_journal_that_ends_within_a_frame_is_torn_or_goes_on_from_the_last_promise",
                    "a_torn_frame_anywhere_in_the_journal_is_torn",
                    "a_database_and_a_journal_of_different_days_lose_nothing_silently",
                ],
            ),
            (LEDGER, "opens", &["one_flipped_bit_in_the_middle_of_the_wal_is_torn"]),
            (
                LEDGER,
                "anchors",
                &[
                    "an_old_journal_put_beside_a_newer_database_never_loses_a_record_silently",
                    "a_deleted_index_of_the_journal_loses_nothing",
                ],
            ),
        ],
    ),
    (
        21,
        "full, quota, read-only, EIO, no inodes",
        &[
            (
                LEDGER,
                "disk_full",
                &[
                    "a_full_disk_refuses_intents_takes_outcomes_and_goes_on_when_there_is_room",
                    "outcomes_that_fill_the_disk_themselves_find_the_room_that_they_were_promised",
                    "without_inodes_records_are_taken_and_heads_are_shown_once_there_are_some",
                ],
            ),
            (
                LEDGER,
                "disk_fails",
                &[
                    "a_write_or_a_sync_that_fails_acknowledges_nothing_and_a_restart_goes_on",
                    "whichever_write_or_sync_fails_nothing_acknowledged_is_lost",
                    "a_quota_that_is_used_up_is_a_full_disk",
                    "a_file_system_that_turns_read_only_seals_and_nothing_acknowledged_is_lost",
                ],
            ),
        ],
    ),
    (
        22,
        "files are taken from under a running ledger",
        &[
            (
                LEDGER,
                "held_files",
                &[
                    "every_file_that_a_running_ledger_holds_is_missed_when_it_is_harmed",
                    "what_was_acknowledged_before_its_journal_was_removed_is_there_after_a_restart",
                ],
            ),
            (LEDGER, "spool", &["a_spool_that_is_taken_away_is_written_again"]),
        ],
    ),
    (
        23,
        "no file descriptors are left; the kernel kills for memory as `kill -9` does",
        &[(GATEWAY, "survives", &["running_out_of_file_descriptors"])],
    ),
    (
        24,
        "a sink that answers nobody: witnesses are the only ones",
        &[(GATEWAY, "witnessed", &["a_witness_that_never_answers_delays_nothing"])],
    ),
    (
        25,
        "a witness is down, slow, or lies about its size",
        &[(
            GATEWAY,
            "witnessed",
            &[
                "without_a_quorum_nothing_is_admitted_until_it_is_back",
                "best_effort_goes_on_without_a_quorum_and_warns",
                "a_witness_that_never_answers_delays_nothing",
                "a_witness_that_lies_about_its_size_is_not_followed_for_ever",
            ],
        )],
    ),
    (
        26,
        "SQL that changes records",
        &[
            (
                LEDGER,
                "triggers",
                &["sql_that_changes_records_is_blocked", "what_is_done_past_the_guards_is_found"],
            ),
            (
                POSTGRES,
                "refuses",
                &[
                    "update_delete_and_truncate_change_nothing",
                    "a_guard_that_was_taken_away_is_named_and_refuses_the_start",
                ],
            ),
            (POSTGRES, "guards", &["what_a_superuser_does_past_the_guards_is_found"]),
        ],
    ),
    (
        27,
        "arguments are guessed from an export",
        &[(
            LEDGER,
            "discloses",
            &["low_entropy_arguments_cannot_be_guessed_from_a_bundle_without_keys"],
        )],
    ),
    (
        28,
        "what was erased is looked for in files, journals and exports",
        &[
            (
                "secrets/src/store/sql",
                "tests",
                &["a_destroyed_key_is_not_in_the_file_or_its_journal"],
            ),
            (
                GATEWAY,
                "discloses",
                &["nothing_of_a_person_whose_keys_were_erased_and_says_what_stays_closed"],
            ),
            (
                GATEWAY,
                "erases",
                &["undone_by_no_restored_backup_and_final_by_the_time_that_its_certificate_states"],
            ),
            (
                "secrets/src/rotation",
                "epoch_tests",
                &[
                    "what_was_erased_opens_from_no_restored_table_and_from_no_copy_once_its_version_is_gone",
                ],
            ),
        ],
    ),
    (
        29,
        "it verifies after a prune; certificates can't be taken out",
        &[(
            LEDGER,
            "prunes",
            &[
                "what_expired_goes_and_what_stays_verifies",
                "a_certificate_that_is_taken_out_is_missed",
            ],
        )],
    ),
    (
        30,
        "an auditor of one tenant gets nothing of another",
        &[(LEDGER, "tampering", &["an_export_of_one_log_has_not_a_byte_of_another"])],
    ),
    (
        42,
        "parsers get any bytes",
        &[
            ("secrets/src/vault", "tests", &["opening_anything_never_panics"]),
            (
                "audit/tests",
                "fuzz",
                &[
                    "note_holds_its_claim",
                    "checkpoint_holds_its_claim",
                    "tile_path_holds_its_claim",
                    "entry_bundle_holds_its_claim",
                    "proof_holds_its_claim",
                    "policy_holds_its_claim",
                    "record_holds_its_claim",
                    "request_holds_its_claim",
                ],
            ),
        ],
    ),
];
