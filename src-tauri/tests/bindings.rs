//! The TypeScript types of everything that crosses between window and app are those that are checked in.
//! `UPDATE_BINDINGS=1 cargo test -p voip-app --test bindings` writes them anew.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ts_rs::{Config, TS};
use voip_app::api::{
    AccountQuery, AccountRequest, AppEvent, AppState, CreatedAccount, HostRequest, HostSetup, LoginRequest,
    PasswordChange, Visit,
};
use voip_client::audio::Devices;
use voip_protocol::{
    ErrorCode,
    control::{ImportReport, Login, Role, UserPage},
};

#[test]
fn checked_in_types_are_up_to_date() {
    let checked_in = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ui/src/host/bindings");
    let folder = tempfile::tempdir().unwrap();
    export(folder.path());
    let made = files(folder.path());
    if std::env::var_os("UPDATE_BINDINGS").is_some() {
        fs::remove_dir_all(&checked_in).unwrap();
        export(&checked_in);
    }
    let there = files(&checked_in);
    let stale: Vec<_> = made.iter().filter(|(name, text)| there.get(*name) != Some(text)).collect();
    let left: Vec<_> = there.keys().filter(|name| !made.contains_key(*name)).collect();
    assert!(
        stale.is_empty() && left.is_empty(),
        "ui/src/host/bindings is stale: run this test with UPDATE_BINDINGS=1 ({:?} differ, {left:?} are left over)",
        stale.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
}

fn export(folder: &Path) {
    // No number that crosses comes near 2^53.
    let config = Config::new().with_large_int("number").with_out_dir(folder);
    AppState::export_all(&config).unwrap();
    AppEvent::export_all(&config).unwrap();
    HostSetup::export_all(&config).unwrap();
    HostRequest::export_all(&config).unwrap();
    Visit::export_all(&config).unwrap();
    LoginRequest::export_all(&config).unwrap();
    Devices::export_all(&config).unwrap();
    ErrorCode::export_all(&config).unwrap();
    PasswordChange::export_all(&config).unwrap();
    Login::export_all(&config).unwrap();
    AccountQuery::export_all(&config).unwrap();
    UserPage::export_all(&config).unwrap();
    Role::export_all(&config).unwrap();
    AccountRequest::export_all(&config).unwrap();
    CreatedAccount::export_all(&config).unwrap();
    ImportReport::export_all(&config).unwrap();
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect()
}
