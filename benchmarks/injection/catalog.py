"""The 44 rows of the fault table: what happens, how it is injected, and what covers it.

``groups`` are (part, start of a row of that part); ``tests`` are files and names of tests.
"""

from __future__ import annotations

from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """One kind of fault.

    Attributes:
        number: of the row.
        fault: what happens.
        promise: what the program does then.
        how: how it is injected.
        groups: rows of the parts of ``benchmarks/faults.py``.
        tests: ``folder/file.py::name`` below ``tests``.
        limit: what is not promised or not tried, or why the row does not apply.
    """

    number: int
    fault: str
    promise: str
    how: str
    groups: Pairs = ()
    tests: tuple[str, ...] = ()
    limit: str = ""

    @property
    def applies(self) -> bool:
        """Whether there is anything to try."""
        return bool(self.groups or self.tests)


_KILLS, _FLIPS, _BOMBS, _FUZZ = "kills", "flips", "bombs", "fuzz"
_SAVES = "faults/test_checkpoint_faults.py::"
_REQUESTS = "faults/test_bad_requests.py::"
_SERVE = "serve/test_faults.py::"
_INPUTS = "io/test_bad_inputs.py::"
_STORE_KILLS = "faults/test_kills.py::"

ROWS = (
    Row(
        1, "SIGKILL while a snapshot or model is saved",
        "A whole snapshot always loads; the next run removes what was left half-written.",
        "SIGKILL at every file operation of a save, and at random moments of a training",
        groups=((_KILLS, "pretrain"), (_KILLS, "train")),
        tests=(f"{_SAVES}test_kill_at_every_operation_of_a_save",
               f"{_SAVES}test_a_good_snapshot_survives_random_kills"),
    ),
    Row(
        2, "SIGKILL at a random step, then `--resume`",
        "The same bits as an uninterrupted run; the journal has no gap and no double line.",
        "SIGKILL at uniformly random moments, every third trial twice; all files are compared",
        groups=((_KILLS, "pretrain"), (_KILLS, "train"), (_KILLS, "curve")),
        tests=(f"{_SAVES}test_kill_at_a_random_moment",
               "faults/test_kills_of_verbs.py::test_a_killed_verb_goes_on",
               "e2e/test_resume.py::test_kills_and_signals_change_nothing"),
    ),
    Row(
        3, "Resume with another number of workers or processes",
        "The same samples per step.",
        "0, 1, 2 and 4 loader threads; two processes with gloo",
        tests=("data/test_loader.py::test_batches_come_in_order_whatever_the_number_of_workers",
               "training/test_parallel.py::test_two_processes_agree_stop_together_and_resume",
               "e2e/test_processes.py::test_every_process_and_worker_has_crops_of_its_own"),
    ),
    Row(
        4, "SIGTERM, SIGINT, SIGUSR1",
        "Saves and exits with 143 or 130; resumable. A second Ctrl-C ends at once.",
        "Signals during a step, during predictions, and before the first step",
        tests=(f"{_SAVES}test_signals_save_and_end",
               f"{_SAVES}test_a_second_interrupt_ends_at_once",
               "e2e/test_signals.py::test_predict", "e2e/test_signals.py::test_cluster",
               "e2e/test_signals.py::test_curve",
               "e2e/test_resume.py::test_ctrl_c_before_the_first_step"),
    ),
    Row(
        5, "The disk is full or fails",
        "Exit code 2, the path is named, older files stay whole.",
        "ENOSPC, EIO, EACCES and EROFS at calls of open, write, fsync, rename and mkdir; a limit "
        "of the size of files that stops real writes in the middle",
        groups=(("disk", ""),),
        tests=(f"{_SAVES}test_a_full_disk_ends_with_a_message_and_what_was_saved",
               f"{_SAVES}test_a_file_too_large_keeps_the_older_ones",
               f"{_STORE_KILLS}test_an_error_of_the_disk_is_explained",
               "clustering/test_assign.py::test_a_full_disk_keeps_finished_blocks"),
        limit="A training ends; it does not continue without saving.",
    ),
    Row(
        6, "The output folder is read-only, missing or gone",
        "Refused before the first step.",
        "Folders without permission, below a file, removed during the run",
        groups=(("disk", ""),),
        tests=(f"{_SAVES}test_a_folder_without_permission_is_refused",
               "checkpoint/test_lock.py::test_a_folder_that_cannot_be_made_is_refused",
               "checkpoint/test_snapshots.py::test_a_run_folder_that_is_gone_is_named",
               f"{_REQUESTS}test_out_is_a_file"),
    ),
    Row(
        7, "One bit of a model or snapshot is flipped",
        "Noticed; the snapshot before is taken, and both are named.",
        "Random bits of every file; half of them near the ends, where headers are",
        groups=((_FLIPS, "model file"), (_FLIPS, "resumed: snapshot"),
                (_FLIPS, "resumed: model of the run")),
        tests=("checkpoint/test_tensors.py::test_each_flipped_bit_is_noticed",
               "checkpoint/test_snapshots.py::test_flipped_bits_lead_to_the_snapshot_before"),
    ),
    Row(
        8, "A model or snapshot is cut short",
        "As above.",
        "Cut to 0, 1 and 8 bytes, to half, and before the last byte",
        groups=((_FLIPS, "model file"), (_FLIPS, "resumed: snapshot"),
                (_FLIPS, "resumed: model of the run")),
        tests=("checkpoint/test_tensors.py::test_each_truncation_is_noticed",
               "checkpoint/test_snapshots.py::"
               "test_truncated_or_missing_files_lead_to_the_snapshot_before"),
    ),
    Row(
        9, "A model of another architecture",
        "The first differences are listed, with what to do.",
        "Other backbones, patches, keys, shapes and types",
        tests=("checkpoint/test_model.py::"
               "test_another_network_is_refused_with_the_first_differences",
               f"{_REQUESTS}test_init_from_another_backbone",
               f"{_REQUESTS}test_resume_with_another_architecture",
               "training/test_loop.py::test_another_network_cannot_resume"),
    ),
    Row(
        10, "Code in a file: pickles, tagged YAML, a model that names a Python file",
        "Refused; nothing runs.",
        "Payloads that leave a mark when they run, for every verb that takes such a file and every "
        "component that a model card can name",
        groups=(("outside", "model card"), ("outside", "pickles")),
        tests=("infer/test_code.py::test_no_kind_of_part_runs_from_a_model",
               f"{_REQUESTS}test_model", f"{_REQUESTS}test_image", f"{_REQUESTS}test_recipe",
               "checkpoint/test_foreign.py::test_payloads_are_refused_and_not_run"),
        limit="`--allow-code` runs the code that a model names; see [Models](howto/models.md).",
    ),
    Row(
        11, "A model file that lies",
        "Refused below 1 GB and 2 CPU seconds, and named.",
        "Header lengths up to 2^63, 150,000 tensors, sparse files of 64 GiB, cards that claim huge "
        "networks, nested cards; random mutations",
        groups=((_BOMBS, "model files"), (_FUZZ, "model files"), (_FUZZ, "snapshots"),
                (_FUZZ, "block records")),
        tests=("checkpoint/test_tensors.py::test_hostile_files_are_refused_at_once",
               "checkpoint/test_tensors.py::test_huge_claimed_header_is_not_read",
               "models/test_finished.py::test_a_small_file_that_claims_a_huge_network"),
    ),
    Row(
        12, "NaN and infinity in images, losses and gradients",
        "The file and place are named; bad steps are skipped, then the run stops; never saved.",
        "Images with NaN; losses and gradients replaced at chosen steps",
        tests=(f"{_REQUESTS}test_not_finite", "training/test_loop.py::test_bad_steps_are_skipped",
               "training/test_loop.py::test_too_many_bad_steps_end_the_run",
               "checkpoint/test_tensors.py::test_weights_that_are_not_finite_are_refused"),
    ),
    Row(
        13, "Constant images, empty labels, objects of one pixel or of the whole image",
        "A defined result; no NaN from a division.",
        "Such images and labels, in training, decoding and metrics",
        tests=(f"{_REQUESTS}test_constant_images_and_empty_labels_are_defined",
               "metrics/test_edge_cases.py::test_ratios",
               "faults/test_bad_cells.py::test_one_cell_over_the_whole_image",
               "data/test_normalize.py::test_constant_images_are_defined"),
    ),
    Row(
        14, "A worker fails or dies",
        "Its error is raised with the file's name; work of a dead process is done by another.",
        "Exceptions in loader threads; SIGKILL of dask workers",
        tests=("data/test_loader.py::test_an_error_is_raised_at_its_place",
               "data/test_loader.py::test_closing_ends_all_threads",
               "e2e/test_blockwise.py::test_a_killed_worker_costs_nothing_but_time"),
        limit="Loaders are threads, so they cannot die alone. A file system that hangs is not "
        "noticed.",
    ),
    Row(
        15, "Too little memory",
        "A prediction halves its batch and continues; a training says what would fit.",
        "Errors of the allocator, injected",
        tests=("infer/test_tiles.py::test_out_of_memory_halves_the_batch_and_goes_on",
               "infer/test_tiles.py::test_a_window_that_never_fits_is_told",
               "training/test_loop.py::test_short_memory_is_told"),
        limit="A training does not change its own batch size: results would depend on the machine.",
    ),
    Row(
        16, "Damaged, empty or misnamed images",
        "One line per bad file, all at once; never another size without a message.",
        "2,640 mutations of 33 small files, each in a process with limits; files that are empty, "
        "cut, web pages or folders",
        groups=((_FUZZ, ""),),
        tests=(f"{_REQUESTS}test_every_bad_file_is_listed_at_once", f"{_INPUTS}test_empty_file",
               f"{_INPUTS}test_truncated_file", f"{_INPUTS}test_web_page_with_an_image_suffix",
               "io/test_contradictions.py::test_damaged_headers_give_no_other_shape"),
        limit="Raw formats (NPY, .nii, uncompressed TIFF) cannot notice other values.",
    ),
    Row(
        17, "Decompression bombs and huge claims in images",
        "Refused below 1 GB and 2 CPU seconds.",
        "Generated files: huge sizes, tiles and chunks, loops, streams that unpack to gigabytes",
        groups=tuple((_BOMBS, kind) for kind in
                     ("TIFF", "PNG", "NIfTI", "NPY", "HDF5", "Zarr", "DICOM")),
        tests=(f"{_INPUTS}test_tiff_bombs", f"{_INPUTS}test_png_bomb", f"{_INPUTS}test_zarr_bombs",
               "io/test_bombs.py::test_bombs", "io/test_hdf5.py::test_a_chunk_cannot_grow",
               "io/test_zarr.py::test_a_chunk_cannot_grow"),
        limit="Archives (.npz, .zip) are not read.",
    ),
    Row(
        18, "A codec is missing",
        "The package is named.",
        "`imagecodecs` hidden",
        tests=(f"{_INPUTS}test_missing_codecs_are_named",),
    ),
    Row(
        19, "Unusual types: big-endian, bool, complex, palettes, CMYK, 16-bit PNG",
        "Read exactly, or refused by name.",
        "Files of each type",
        tests=("infer/test_predictor.py::test_number_types_and_constant_images",
               f"{_INPUTS}test_complex_is_refused_by_name",
               f"{_INPUTS}test_color_modes_without_meaning",
               "io/test_formats.py::test_tiff_bilevel"),
    ),
    Row(
        20, "Ids above 255, 65,535 and 2^31; gaps, negative and float ids, colors",
        "Kept exactly, or refused.",
        "Label images of each kind; 70,000 objects",
        tests=(f"{_REQUESTS}test_large_ids_are_kept",
               "faults/test_bad_cells.py::test_more_cells_than_16_bits_number",
               f"{_INPUTS}test_broken_ids", f"{_INPUTS}test_whole_floats_are_ids",
               f"{_INPUTS}test_color_coded_labels"),
    ),
    Row(
        21, "Order of axes and number of channels",
        "Taken from metadata, or asked for; never guessed.",
        "Stacks and channels in every order",
        tests=(f"{_REQUESTS}test_axes_are_never_guessed",
               "faults/test_bad_cells.py::test_other_channels_are_never_cut",
               "io/test_formats.py::test_ambiguous_axes_are_asked_for"),
    ),
    Row(
        22, "Images and labels of different sizes; images smaller than a crop; odd sizes",
        "Refused with both shapes, or padded and cropped back exactly.",
        "Sizes from 1 pixel on",
        tests=(f"{_REQUESTS}test_image_and_labels_of_different_sizes",
               f"{_REQUESTS}test_images_of_any_size_keep_it"),
    ),
    Row(
        23, "Unusual file names: spaces, Unicode, dashes, 255 bytes, loops of links, duplicates",
        "One output per input; nothing is overwritten.",
        "Files with such names",
        tests=(f"{_REQUESTS}test_two_inputs_of_one_output",
               f"{_REQUESTS}test_inputs_are_not_overwritten",
               f"{_REQUESTS}test_odd_names_are_kept", f"{_REQUESTS}test_loops_of_links",
               "api/test_inputs.py::test_names_that_are_not_utf8"),
    ),
    Row(
        24, "Inputs that change during a run",
        "Noticed and named.",
        "Files removed, replaced and touched between two images and between two steps",
        tests=(f"{_REQUESTS}test_during_prediction", f"{_REQUESTS}test_during_training",
               "io/test_rewritten_files.py::test_a_rewritten_file_is_noticed"),
    ),
    Row(
        25, "A prediction or clustering is killed",
        "The resumed run has the same bytes; finished blocks are kept.",
        "SIGKILL at random moments, in memory and in blocks, TIFF and OME-Zarr, with scores",
        groups=((_KILLS, "predict"), (_KILLS, "cluster")),
        tests=("e2e/test_blockwise.py::test_a_killed_run_goes_on",
               f"{_STORE_KILLS}test_a_killed_prediction_goes_on"),
    ),
    Row(
        26, "Objects over several blocks",
        "Equal to the labels of the whole image, or the message names the margin.",
        "1,000 random volumes; spirals, combs and objects over 2 to 8 blocks",
        tests=("labels/test_stitch.py::test_random_volumes_equal_one_pass",
               "labels/test_stitch.py::test_a_thousand_random_volumes_equal_one_pass",
               "labels/test_stitch.py::test_objects_over_many_blocks",
               "infer/test_predict_blocks.py::test_objects_are_those_of_the_whole"),
    ),
    Row(
        27, "OME-Zarr: kills, missing and damaged chunks and metadata, a second writer",
        "Noticed; computed again by `--resume`.",
        "Kills, flipped bits and cut files in stores that are in work and in finished ones",
        groups=((_KILLS, "predict in blocks, OME-Zarr"), (_FLIPS, "OME-Zarr"),
                (_FLIPS, "scores, OME-Zarr"), (_FLIPS, "resumed: stored scores"),
                (_FLIPS, "resumed: label store")),
        tests=(f"{_STORE_KILLS}test_lost_and_damaged_chunks_are_computed_again",
               "e2e/test_blockwise.py::test_lost_chunks_are_told",
               "infer/test_sinks.py::test_a_flipped_bit_is_noticed"),
        limit="zarr.json has no checksum: another voxel size in it is not noticed.",
    ),
    Row(
        28, "Two runs with one output folder",
        "The second is refused; the first is named with process and start.",
        "A second run; locks left by dead runs; disks without locks",
        tests=("checkpoint/test_lock.py::test_a_second_run_is_refused_and_a_dead_one_replaced",
               "checkpoint/test_lock.py::test_a_disk_without_locks",
               "e2e/test_blockwise.py::test_a_second_run_into_one_output_is_refused"),
    ),
    Row(
        29, "The clock jumps back, the time zone changes",
        "The order of snapshots is that of steps.",
        "Times of files set back by days; another TZ",
        tests=("faults/test_clock.py::test_snapshots_are_ordered_by_steps",
               "faults/test_clock.py::test_a_run_resumes_after_the_clock_went_back",
               "io/test_rewritten_files.py::test_files_at_rest_are_told_by_their_times"),
    ),
    Row(
        30, "Downloads that are interrupted, wrong or refused",
        "", "",
        limit="The program downloads nothing: models and data are files of the user.",
    ),
    Row(
        31, "Archives with paths that lead out",
        "The program unpacks no archives. Of HDF5, Zarr and multi-file TIFF that lead out of "
        "their folder nothing is read.",
        "External storage and links, virtual data sets, links and `..` to a known file",
        groups=(("outside", "HDF5, Zarr"),),
        tests=("io/test_hdf5.py::test_other_files_are_read_only_if_allowed",
               "io/test_zarr.py::test_other_files_are_read_only_if_allowed",
               "io/test_tiff_sets.py::test_a_partner_never_leads_out_of_the_folder"),
    ),
    Row(
        32, "Recipes with typing errors, wrong types and ranges, bombs of anchors",
        "All problems at once, the nearest name is suggested, before any data are read.",
        "Wrong recipes and settings; mutated recipes, lists and tables; anchors that multiply",
        groups=((_BOMBS, "recipes"), (_BOMBS, "dataset.json"), (_FUZZ, "recipes"),
                (_FUZZ, "dataset.json"), (_FUZZ, "tables")),
        tests=(f"{_REQUESTS}test_unknown_and_wrong_fields", f"{_REQUESTS}test_values_out_of_range",
               f"{_REQUESTS}test_mistakes_of_every_kind_at_once",
               f"{_REQUESTS}test_wrong_files"),
    ),
    Row(
        33, "A poor environment: no GPU, no torchvision, LANG=C, few file handles, other systems",
        "Works, or says what is missing.",
        "A bare environment, hidden modules of POSIX, a limit of open files",
        tests=("e2e/test_command_line.py::test_a_bare_environment",
               f"{_REQUESTS}test_many_files_with_few_handles",
               "test_platforms.py::test_every_verb_without_posix"),
    ),
    Row(
        34, "Distributed training: a process fails, recipes differ",
        "All processes end, and the error is named.",
        "An error in one of two processes with gloo",
        tests=("training/test_parallel.py::"
               "test_an_error_of_one_process_ends_both_without_an_abort",),
        limit="A process that is killed or hangs is noticed by torchrun, which ends the others; "
        "that is not tried here.",
    ),
    Row(
        35, "`unmask serve`: uploads, paths, addresses and visitors that are hostile",
        "Refused with a 4xx answer; nothing outside the folder is read or written; the server goes "
        "on.",
        "10 GB, 200 uploads at once, markup named .png, bombs, `..` in every form, addresses to "
        "fetch, other origins and host names, no token",
        tests=(f"{_SERVE}test_ten_gigabytes_are_refused_before_they_are_read",
               f"{_SERVE}test_two_hundred_uploads_at_once",
               f"{_SERVE}test_no_path_leads_out",
               f"{_SERVE}test_nothing_is_fetched_for_a_visitor",
               f"{_SERVE}test_names_of_files_never_become_markup",
               f"{_SERVE}test_bombs_among_outlines",
               f"{_SERVE}test_of_twenty_people_at_once_one_is_first",
               "serve/test_upload.py::test_what_is_not_an_image_is_refused",
               "serve/test_upload.py::test_a_bomb_is_refused",
               "serve/test_upload.py::test_names_become_tame",
               "serve/test_guard.py::test_another_host_is_refused",
               "serve/test_guard.py::test_another_origin_is_refused",
               "serve/test_guard.py::test_no_preflight_is_answered",
               "serve/test_guard.py::test_beyond_this_machine_a_token_is_needed"),
    ),
    Row(
        36, "`unmask serve`: a job dies, a visitor leaves, the server or the browser is killed",
        "The state of a job is kept, or it has failed with its last message; nothing half received "
        "stays; the page saves what it still has, and of its strokes at most the last one is lost.",
        "SIGKILL of jobs, of the server and of the browser; uploads that end early",
        tests=(f"{_SERVE}test_a_killed_job_says_so_and_the_next_one_runs",
               f"{_SERVE}test_a_visitor_who_goes_away_leaves_nothing",
               f"{_SERVE}test_damaged_notes_are_left_aside",
               "serve/test_jobs.py::test_a_training_outlives_the_server_and_is_found_again",
               "serve/test_jobs.py::test_stop_ends_no_process_with_a_reused_number",
               "serve/test_page.py::test_a_killed_server_loses_nothing_that_the_page_still_has",
               "serve/test_page.py::test_a_killed_browser_loses_at_most_the_last_stroke"),
    ),
    Row(
        37, "Metrics: missing and extra predictions, other shapes, 100,000 objects",
        "Named per image; memory stays below ten images.",
        "Such folders; a table of 100,000 objects",
        tests=("api/test_verbs.py::test_truth_without_a_prediction_is_named",
               f"{_REQUESTS}test_truth_and_prediction_of_different_sizes",
               f"{_REQUESTS}test_evaluation",
               "metrics/test_overlap_table.py::test_hundred_thousand_objects_need_little_memory"),
    ),
    Row(
        38, "Flows: zero, NaN, one sink, out of the image, no foreground",
        "A defined result; no hang.",
        "Flow fields of each kind",
        tests=("labels/test_flows.py::test_no_flow_makes_no_objects",
               "labels/test_flows.py::test_flows_that_are_not_finite_count_as_background",
               "labels/test_flows.py::test_all_flows_to_one_sink_make_one_object",
               "labels/test_flows.py::test_a_stream_out_of_the_image_ends_at_its_border",
               "labels/test_flows.py::test_no_foreground"),
    ),
    Row(
        39, "Clustering: too few points, equal points, NaN, empty clusters",
        "A defined result or an error; the same seed gives the same labels.",
        "Point sets of each kind",
        tests=("test_kmeans.py::test_as_many_centers_as_distinct_points",
               "test_kmeans.py::test_points_must_be_finite",
               "test_kmeans.py::test_a_center_without_points_is_defined",
               "test_kmeans.py::test_too_many_clusters_name_the_number_possible",
               "api/test_clustering.py::test_same_seed_same_labels"),
    ),
    Row(
        40, "Power cut: writes that were not flushed are lost",
        "What a record says is there is there.",
        "File operations recorded; unflushed writes dropped at every prefix, then resumed",
        tests=(f"{_STORE_KILLS}test_a_prediction_outlives_a_power_cut",),
    ),
    Row(
        41, "The log is deleted, the terminal is closed, the disk of the log is full",
        "One warning; the training continues.",
        "Removed and unwritable files; EPIPE",
        tests=("training/test_journal.py::test_a_deleted_journal_starts_again",
               "training/test_journal.py::test_what_cannot_be_written_is_told_once",
               "training/test_journal.py::test_a_closed_terminal_does_no_harm"),
        groups=((_FLIPS, "resumed: journal"),),
    ),
    Row(
        42, "Memory that grows",
        "Later steps and larger images need no more.",
        "Resident memory over many steps, and over images 64 times as large",
        tests=("training/test_loop.py::test_later_steps_hold_no_more_memory",
               "infer/test_tiles.py::test_memory_does_not_grow_with_the_first_axis",
               "e2e/test_blockwise.py::test_memory_does_not_grow_with_the_image"),
    ),
    Row(
        43, "Models and runs of earlier versions",
        "They predict the same labels, and runs resume.",
        "A model and a run folder of every version, kept in the repository",
        tests=("test_versions.py::test_models_predict_what_they_did",
               "test_versions.py::test_a_run_predicts", "test_versions.py::test_a_run_resumes",
               "test_versions.py::test_training_starts_from_a_model"),
    ),
    Row(
        44, "Ways to start processes: fork, spawn, forkserver",
        "The same result.",
        "Workers as threads and as spawned processes",
        tests=("e2e/test_blockwise.py::test_a_cluster_gives_the_same_bytes",
               "e2e/test_clusters.py::test_workers_of_a_cluster_give_the_same_bytes"),
        limit="Loaders are threads; no process is started by fork.",
    ),
)  # fmt: skip
