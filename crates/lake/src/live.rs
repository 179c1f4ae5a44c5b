//! Which data files a snapshot holds, as its manifests tell.

use iceberg::spec::{DataContentType, DataFile, Snapshot};
use iceberg::table::Table;
use k2_model::{Error, Result};

/// A live data file and the snapshot that added it.
#[derive(Debug, Clone)]
pub struct LiveFile {
    /// The file.
    pub file: DataFile,
    /// The snapshot that added it, if the manifest tells.
    pub added_by: Option<i64>,
}

/// The live data files of a snapshot, manifest by manifest. Delete files are counted, not listed.
pub async fn live_files(table: &Table, snapshot: &std::sync::Arc<Snapshot>) -> Result<(Vec<LiveFile>, usize)> {
    let unreadable = |what: &str, path: &str, e: iceberg::Error| {
        Error::retry(format!("cannot read a {what}")).caused_by(e).at(path.to_owned())
    };
    let list = table
        .manifest_list_reader(snapshot)
        .load()
        .await
        .map_err(|e| unreadable("manifest list", snapshot.manifest_list(), e))?;
    let (mut live, mut deletes) = (Vec::new(), 0);
    for manifest in list.entries() {
        let content = manifest
            .load_manifest(table.file_io())
            .await
            .map_err(|e| unreadable("manifest", &manifest.manifest_path, e))?;
        for entry in content.entries().iter().filter(|e| e.is_alive()) {
            if entry.data_file().content_type() == DataContentType::Data {
                live.push(LiveFile { file: entry.data_file().clone(), added_by: entry.snapshot_id() });
            } else {
                deletes += 1;
            }
        }
    }
    Ok((live, deletes))
}
