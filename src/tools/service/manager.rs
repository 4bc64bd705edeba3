//! Asks Windows's service manager to register, start, stop and forget services.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use ::log::warn;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceDependency, ServiceErrorControl,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceState,
    ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::plan::Plan;
use super::{Error, Result};
use crate::util::clock::Clock;

/// How long a start or an orderly stop may take. A broker hands its leaderships over first.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often to look.
const LOOK: Duration = Duration::from_millis(100);
/// What Windows waits before it starts a failed service again: the first time, the second, from then on.
const RESTARTS: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(60),
];
/// A service that ran for so long begins again with the first of them.
const FORGIVEN: Duration = Duration::from_secs(24 * 3600);

/// ERROR_ACCESS_DENIED
const ACCESS_DENIED: i32 = 5;
/// ERROR_INVALID_LEVEL
const UNKNOWN_LEVEL: i32 = 124;
/// ERROR_SERVICE_ALREADY_RUNNING
const ALREADY_RUNNING: i32 = 1056;
/// ERROR_DEPENDENT_SERVICES_RUNNING
const DEPENDENTS_RUNNING: i32 = 1051;
/// ERROR_SERVICE_NOT_ACTIVE
const NOT_ACTIVE: i32 = 1062;

/// Windows's number for what went wrong.
fn code(error: &windows_service::Error) -> Option<i32> {
    match error {
        windows_service::Error::Winapi(e) => e.raw_os_error(),
        _ => None,
    }
}

fn refused(doing: &'static str, plan: &Plan) -> impl Fn(windows_service::Error) -> Error + use<> {
    let name = plan.name.clone();
    move |e| Error::Refused {
        doing,
        name: name.clone(),
        why: match (code(&e), &e) {
            (Some(ACCESS_DENIED), _) => "access denied; open the console as an administrator".to_owned(),
            (Some(DEPENDENTS_RUNNING), _) => "a service that depends on it runs; stop that first".to_owned(),
            (_, windows_service::Error::Winapi(e)) => e.to_string(),
            _ => e.to_string(),
        },
    }
}

fn manager(plan: &Plan, access: ServiceManagerAccess) -> Result<ServiceManager> {
    ServiceManager::local_computer(None::<&str>, access).map_err(refused("cannot reach the manager of", plan))
}

fn open(plan: &Plan, access: ServiceAccess) -> Result<Service> {
    manager(plan, ServiceManagerAccess::CONNECT)?
        .open_service(&plan.name, access | ServiceAccess::QUERY_STATUS)
        .map_err(refused("cannot open", plan))
}

/// Registers the service: starts with the machine, after its neighbours that are registered already, and
/// again when it ended by itself.
pub(super) fn install(plan: &Plan, directory: &Path) -> Result<String> {
    let manager = manager(
        plan,
        ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE,
    )?;
    let there = |name: &&String| manager.open_service(name, ServiceAccess::QUERY_STATUS).is_ok();
    let first: Vec<&String> = plan.neighbours.iter().filter(there).collect();
    let info = ServiceInfo {
        name: plan.name.clone().into(),
        display_name: plan.title().into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: plan.program().to_owned(),
        launch_arguments: plan
            .arguments(directory)
            .into_iter()
            .map(OsString::from)
            .collect(),
        dependencies: first
            .iter()
            .map(|name| ServiceDependency::Service(name.into()))
            .collect(),
        account_name: None,
        account_password: None,
    };
    // Actions that start it ask for the right to start it.
    let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START | ServiceAccess::DELETE;
    let service = manager
        .create_service(&info, access)
        .map_err(refused("cannot install", plan))?;
    if let Err(e) = settle(&service, plan) {
        // Half a service is none.
        let _ = service.delete();
        return Err(refused("cannot install", plan)(e));
    }
    let after = match first[..] {
        [] => String::new(),
        _ => format!(
            ", after {}",
            first.into_iter().cloned().collect::<Vec<_>>().join(", ")
        ),
    };
    Ok(format!(
        "Installed {}; it starts with Windows{after}. Its console is {}",
        plan.name,
        plan.console().display()
    ))
}

/// Says what Windows is to do with the service beyond starting it.
fn settle(service: &Service, plan: &Plan) -> windows_service::Result<()> {
    let again = |delay: &Duration| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: *delay,
    };
    let actions = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGIVEN),
        reboot_msg: None,
        command: None,
        actions: Some(RESTARTS.iter().map(again).collect()),
    };
    let description = format!("Runs on {}", plan.config.display());
    for done in [
        service.set_description(description),
        service.update_failure_actions(actions),
        // An end with an error code is a failure too, not only a crash.
        service.set_failure_actions_on_non_crash_failures(true),
    ] {
        match done {
            Err(e) if code(&e) == Some(UNKNOWN_LEVEL) => {
                warn!(
                    "this system does not start {} again after all failures",
                    plan.name
                );
            }
            other => other?,
        }
    }
    Ok(())
}

/// Starts the service; it runs afterwards.
pub(super) fn start(plan: &Plan) -> Result<String> {
    let service = open(plan, ServiceAccess::START)?;
    match service.start::<&str>(&[]) {
        Err(e) if code(&e) == Some(ALREADY_RUNNING) => {}
        other => other.map_err(refused("cannot start", plan))?,
    }
    wait(&service, plan, ServiceState::Running, "running")?;
    Ok(format!("Started {}", plan.name))
}

/// Stops the service; it has ended afterwards.
pub(super) fn stop(plan: &Plan) -> Result<String> {
    let service = open(plan, ServiceAccess::STOP)?;
    end(&service, plan)?;
    Ok(format!("Stopped {}", plan.name))
}

/// Stops the service and forgets it.
pub(super) fn uninstall(plan: &Plan) -> Result<String> {
    let service = open(plan, ServiceAccess::STOP | ServiceAccess::DELETE)?;
    end(&service, plan)?;
    service.delete().map_err(refused("cannot uninstall", plan))?;
    Ok(format!("Uninstalled {}", plan.name))
}

fn end(service: &Service, plan: &Plan) -> Result<()> {
    match service.stop() {
        Err(e) if code(&e) == Some(NOT_ACTIVE) => return Ok(()),
        other => other.map_err(refused("cannot stop", plan))?,
    };
    wait(service, plan, ServiceState::Stopped, "stopped")
}

/// Returns once the service is in a state.
fn wait(service: &Service, plan: &Plan, state: ServiceState, wanted: &'static str) -> Result<()> {
    let late = || Error::Late {
        name: plan.name.clone(),
        wanted,
        log: plan.console(),
    };
    let clock = Clock::system();
    let deadline = clock.now() + PATIENCE;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| Error::Other(format!("cannot wait: {e}")))?;
    loop {
        let now = service
            .query_status()
            .map_err(refused("cannot look at", plan))?
            .current_state;
        if now == state {
            return Ok(());
        }
        // One that should run and has stopped never will.
        if clock.now() >= deadline || (now == ServiceState::Stopped && state == ServiceState::Running) {
            return Err(late());
        }
        runtime.block_on(clock.sleep(LOOK));
    }
}
