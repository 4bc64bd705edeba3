//! The promise: what is acknowledged survives disks that are full to the last byte, of leader, follower and
//! controller. Whoever has no room appends nothing and leaves the in-sync sets of what others lead, which goes on;
//! what it leads itself waits. It comes back by itself when there is room, also if it was killed in between; and a
//! controller decides all the while.

use std::path::Path;

use super::ground::{Ground, PARTITIONS, PARTS, Part, TOPIC};
use crate::support::fleet::{Fleet, LIMIT};
use crate::support::mount::Mount;
use crate::support::wait_until;

/// More than such tests write. Only what is written takes room on the real disk.
const BYTES: u64 = 16 << 30;

/// Gives each broker, before it is launched, a disk of its own for its logs. They must outlive the brokers.
pub fn own_disks(fleet: &mut Fleet, folder: &Path) -> Result<Vec<Mount>, String> {
    let mut disks = Vec::new();
    for machine in &mut fleet.machines {
        let id = machine.id;
        let (at, image) = (
            folder.join(format!("disk-{id}")),
            folder.join(format!("image-{id}")),
        );
        let disk = Mount::ext4(&at, &image, BYTES)?;
        machine.logs = disk.at.join("kafka-logs");
        disks.push(disk);
    }
    Ok(disks)
}

/// Waits until nobody counts on that broker for what it does not lead.
#[track_caller]
fn wait_out_of_sync(ground: &Ground, id: i32) {
    wait_until("its leaders go on without it", LIMIT, || {
        (0..PARTITIONS).all(|p| {
            let state = ground.fleet.state(TOPIC, p);
            state.is_some_and(|(leader, isr)| leader == id || !isr.contains(&id))
        })
    });
}

#[test]
fn disks_of_leader_follower_and_controller_are_full() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::prepare(3, "");
    let disks = need!(own_disks(&mut fleet, folder.path()));
    fleet.launch_all();
    let mut ground = Ground::on(fleet);
    for part in PARTS {
        ground.goes_on("the last fault");
        let id = ground.who(part);
        let disk = &disks[usize::try_from(id).unwrap()];
        disk.fill();
        let program = ground.fleet.machine(id).program.as_mut().expect("it runs");
        program.wait_line(" is full: ", LIMIT);
        wait_out_of_sync(&ground, id);
        ground.goes_on_somewhere(&format!("the {part:?}'s disk is full"));
        let other = (id + 1) % 3;
        match part {
            Part::Leader => {}
            Part::Follower => {
                ground.fleet.machine(id).kill();
                ground.wait_left_out(id);
                ground.goes_on("one with a full disk was killed");
                ground.fleet.launch(id);
                // It may find the little that it needs, or wait for it.
                let program = ground.fleet.machine(id).program.as_ref().expect("it runs");
                wait_until("it starts or says what it waits for", LIMIT, || {
                    let said = ["], started", "there is no room to recover"];
                    let lines = program.stdout();
                    lines.iter().any(|line| said.iter().any(|s| line.contains(s)))
                });
            }
            Part::Controller => {
                ground.fleet.machine(other).stop();
                ground.wait_left_out(other);
                ground.fleet.launch(other);
            }
        }
        disk.empty();
        ground.heals();
    }
    ground.reckon();
}
