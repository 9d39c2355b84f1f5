#!/usr/bin/env nextflow
// Segment every image of a folder, one task per image, and join the tables of objects.
//   nextflow run main.nf --images 'images/*.tif' --model nuclei --out results
nextflow.enable.dsl = 2

params.images = 'images/*.tif'
params.model = 'nuclei'
params.out = 'results'

process UNMASK_PREDICT {
    tag "${image.name}"
    publishDir params.out, mode: 'copy', pattern: 'labels/*'
    cpus 2

    input:
    path image
    val model

    output:
    path 'labels/*', emit: labels
    path "${image.baseName}.jsonl", emit: records

    // The exit code 2 names a wrong image or request; trying again does not help.
    errorStrategy { task.exitStatus == 2 ? 'terminate' : 'retry' }
    maxRetries 2

    script:
    """
    unmask predict '${image}' --model '${model}' --out labels --json > '${image.baseName}.jsonl'
    """

    stub:
    """
    mkdir -p labels
    touch 'labels/${image.baseName}.tif' '${image.baseName}.jsonl'
    """
}

process UNMASK_MEASURE {
    publishDir params.out, mode: 'copy'

    input:
    path labels, stageAs: 'labels/*'
    path images, stageAs: 'images/*'

    output:
    path 'objects.csv'

    script:
    """
    unmask measure --labels labels --images images --out objects.csv
    """

    stub:
    """
    touch objects.csv
    """
}

workflow {
    images = Channel.fromPath(params.images, checkIfExists: true)
    UNMASK_PREDICT(images, params.model)
    UNMASK_MEASURE(UNMASK_PREDICT.out.labels.collect(), images.collect())
}
