//! The four-letter words: questions of four bytes in place of a first packet, answered with a text.

use std::fmt::Write;

use crate::util::clock::WallMs;

use super::core::{Core, Moment};

/// The version that clients and monitors parse.
pub(super) const VERSION: &str = "3.4.6-1569965, built on 02/20/2014 09:09 GMT";

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) [u8; 4]);

impl Word {
    /// The word that these bytes are, if they are one.
    pub(super) fn parse(bytes: [u8; 4]) -> Option<Word> {
        const WORDS: [&[u8; 4]; 16] = [
            b"conf", b"cons", b"crst", b"dump", b"envi", b"gtmk", b"ruok", b"stmk", b"srst", b"srvr",
            b"stat", b"wchc", b"wchp", b"wchs", b"mntr", b"isro",
        ];
        WORDS.contains(&&bytes).then_some(Word(bytes))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("all words are ASCII")
    }
}

impl Core {
    /// The answer to a word.
    pub(super) fn answer_word(&mut self, word: Word, now: Moment) -> String {
        let text = word.text();
        if let Some(allowed) = &self.config.four_letter_words
            && !allowed.iter().any(|a| a == "*" || a == text)
        {
            return format!("{text} is not executed because it is not in the whitelist.\n");
        }
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = match text {
            "ruok" => out.write_str("imok"),
            "isro" => out.write_str("rw"),
            // Trace masks mean nothing here; ZooKeeper's own default is told.
            "gtmk" | "stmk" => out.write_str("306"),
            "srvr" => self.write_srvr(&mut out),
            "stat" => self.write_stat(&mut out),
            "cons" => self.write_cons(&mut out),
            "conf" => self.write_conf(&mut out),
            "envi" => write_envi(&mut out),
            "dump" => self.write_dump(&mut out, now),
            "mntr" => self.write_mntr(&mut out),
            "wchs" => self.write_wchs(&mut out),
            "wchc" => self.write_wchc(&mut out),
            "wchp" => self.write_wchp(&mut out),
            "srst" => {
                self.stats = super::stats::ServerStats::default();
                out.write_str("Server stats reset.\n")
            }
            _ => {
                self.conns.values_mut().for_each(|conn| conn.stats.reset());
                out.write_str("Connection stats reset.\n")
            }
        };
        out
    }

    fn write_srvr(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "Zookeeper version: {VERSION}")?;
        self.write_counts(out)
    }

    fn write_counts(&self, out: &mut String) -> std::fmt::Result {
        let stats = &self.stats;
        let latency = &stats.latency;
        writeln!(
            out,
            "Latency min/avg/max: {}/{}/{}",
            latency.min,
            latency.average(),
            latency.max
        )?;
        writeln!(out, "Received: {}", stats.received)?;
        writeln!(out, "Sent: {}", stats.sent)?;
        writeln!(out, "Connections: {}", self.conns.len())?;
        writeln!(out, "Outstanding: {}", self.outstanding())?;
        writeln!(out, "Zxid: 0x{:x}", self.tree.last_zxid())?;
        writeln!(out, "Mode: standalone")?;
        writeln!(out, "Node count: {}", self.node_count())
    }

    /// ZooKeeper counts its root twice.
    fn node_count(&self) -> usize {
        self.tree.len() + 1
    }

    fn write_stat(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "Zookeeper version: {VERSION}")?;
        writeln!(out, "Clients:")?;
        self.write_conns(out, true)?;
        writeln!(out)?;
        self.write_counts(out)
    }

    fn write_cons(&self, out: &mut String) -> std::fmt::Result {
        self.write_conns(out, false)?;
        writeln!(out)
    }

    fn write_conns(&self, out: &mut String, brief: bool) -> std::fmt::Result {
        for conn in self.conns.values() {
            let s = &conn.stats;
            let interest = u8::from(conn.session != 0);
            write!(
                out,
                " /{}:{}[{interest}](queued={},recved={},sent={}",
                conn.peer.ip().to_canonical(),
                conn.peer.port(),
                // The word that asks is answered by this.
                if conn.session == 0 { 0 } else { s.queued },
                s.received,
                s.sent
            )?;
            if !brief && conn.session != 0 {
                write!(
                    out,
                    ",sid=0x{:x},lop={},est={},to={}",
                    conn.session, s.last_op, s.established.0, conn.timeout_ms
                )?;
                if s.last_cxid >= 0 {
                    write!(out, ",lcxid=0x{:x}", s.last_cxid)?;
                }
                write!(
                    out,
                    ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
                    s.last_zxid,
                    s.last_response_ms,
                    s.latency.last,
                    s.latency.min,
                    s.latency.average(),
                    s.latency.max
                )?;
            }
            writeln!(out, ")")?;
        }
        Ok(())
    }

    fn write_conf(&self, out: &mut String) -> std::fmt::Result {
        let c = &self.config;
        let version = |dir: &std::path::Path| dir.join(super::files::VERSION).display().to_string();
        writeln!(out, "clientPort={}", c.client_port)?;
        writeln!(out, "dataDir={}", version(&c.data_dir))?;
        writeln!(out, "dataLogDir={}", version(&c.data_log_dir))?;
        writeln!(out, "tickTime={}", c.tick.as_millis())?;
        writeln!(out, "maxClientCnxns={}", c.max_client_cnxns)?;
        writeln!(out, "minSessionTimeout={}", c.min_session_timeout.as_millis())?;
        writeln!(out, "maxSessionTimeout={}", c.max_session_timeout.as_millis())?;
        writeln!(out, "serverId=0")
    }

    fn write_dump(&self, out: &mut String, now: Moment) -> std::fmt::Result {
        writeln!(out, "SessionTracker dump:")?;
        writeln!(out, "Session Sets ({}):", self.sessions.buckets().count())?;
        for (at, ids) in self.sessions.buckets() {
            let left = at.0.as_millis() as i64 - now.mono.0.as_millis() as i64;
            writeln!(
                out,
                "{} expire at {}:",
                ids.len(),
                date(WallMs(now.wall.0 + left))
            )?;
            for id in ids {
                writeln!(out, "\t0x{id:x}")?;
            }
        }
        writeln!(out, "ephemeral nodes dump:")?;
        let owners = self.tree.all_ephemerals().count();
        writeln!(out, "Sessions with Ephemerals ({owners}):")?;
        for (session, paths) in self.tree.all_ephemerals() {
            writeln!(out, "0x{session:x}:")?;
            for path in paths {
                writeln!(out, "\t{path}")?;
            }
        }
        Ok(())
    }

    fn write_mntr(&self, out: &mut String) -> std::fmt::Result {
        let stats = &self.stats;
        writeln!(out, "zk_version\t{VERSION}")?;
        writeln!(out, "zk_avg_latency\t{}", stats.latency.average())?;
        writeln!(out, "zk_max_latency\t{}", stats.latency.max)?;
        writeln!(out, "zk_min_latency\t{}", stats.latency.min)?;
        writeln!(out, "zk_packets_received\t{}", stats.received)?;
        writeln!(out, "zk_packets_sent\t{}", stats.sent)?;
        writeln!(out, "zk_num_alive_connections\t{}", self.conns.len())?;
        writeln!(out, "zk_outstanding_requests\t{}", self.outstanding())?;
        writeln!(out, "zk_server_state\tstandalone")?;
        writeln!(out, "zk_znode_count\t{}", self.node_count())?;
        writeln!(out, "zk_watch_count\t{}", self.watches.len())?;
        writeln!(out, "zk_ephemerals_count\t{}", self.tree.ephemeral_count())?;
        // ZooKeeper counts the data of its root twice too.
        let root = self.tree.get("/").and_then(|node| node.data.as_ref());
        let size = self.tree.size() + root.map_or(0, |data| data.len());
        writeln!(out, "zk_approximate_data_size\t{size}")?;
        if let Some((open, most)) = open_files() {
            writeln!(out, "zk_open_file_descriptor_count\t{open}")?;
            writeln!(out, "zk_max_file_descriptor_count\t{most}")?;
        }
        Ok(())
    }

    fn write_wchs(&self, out: &mut String) -> std::fmt::Result {
        let (conns, paths, total) = self.watches.data_counts();
        writeln!(out, "{conns} connections watching {paths} paths")?;
        writeln!(out, "Total watches:{total}")
    }

    fn write_wchc(&self, out: &mut String) -> std::fmt::Result {
        for (conn, paths) in self.watches.data_by_conn() {
            writeln!(out, "0x{:x}", self.session_of(conn))?;
            for path in paths {
                writeln!(out, "\t{path}")?;
            }
        }
        writeln!(out)
    }

    fn write_wchp(&self, out: &mut String) -> std::fmt::Result {
        for (path, conns) in self.watches.data_by_path() {
            writeln!(out, "{path}")?;
            for conn in conns {
                writeln!(out, "\t0x{:x}", self.session_of(conn))?;
            }
        }
        writeln!(out)
    }

    fn session_of(&self, conn: super::ConnId) -> i64 {
        self.conns.get(&conn).map_or(0, |c| c.session)
    }
}

/// What monitors look for; there is no Java here to tell of.
fn write_envi(out: &mut String) -> std::fmt::Result {
    let of = |name: &str| std::env::var(name).unwrap_or_else(|_| "<NA>".to_owned());
    let user = if cfg!(windows) { "USERNAME" } else { "USER" };
    let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    let here = std::env::current_dir().unwrap_or_default();
    writeln!(out, "Environment:")?;
    writeln!(out, "zookeeper.version={VERSION}")?;
    writeln!(out, "host.name={}", host_name())?;
    for key in [
        "java.version",
        "java.vendor",
        "java.home",
        "java.class.path",
        "java.library.path",
    ] {
        writeln!(out, "{key}=<NA>")?;
    }
    writeln!(out, "java.io.tmpdir={}", std::env::temp_dir().display())?;
    writeln!(out, "java.compiler=<NA>")?;
    writeln!(out, "os.name={}", std::env::consts::OS)?;
    writeln!(out, "os.arch={}", std::env::consts::ARCH)?;
    writeln!(out, "os.version=<NA>")?;
    writeln!(out, "user.name={}", of(user))?;
    writeln!(out, "user.home={}", of(home))?;
    writeln!(out, "user.dir={}", here.display())
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .unwrap_or_else(|_| "localhost".to_owned())
}

/// Files open now and at most, where the system tells.
fn open_files() -> Option<(usize, u64)> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    let most = line.split_whitespace().nth(4)?.parse().ok()?;
    Some((open, most))
}

/// A moment as Java prints it, in UTC: `Mon Nov 23 05:29:32 UTC 2026`.
fn date(at: WallMs) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = at.0.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years from March on, so that the day which some years lack is the last one.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12;
    let year = year + era * 400 + i64::from(month < 2);
    format!(
        "{} {} {day_of_month:02} {:02}:{:02}:{:02} UTC {year}",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_printed_as_java_does() {
        assert_eq!(date(WallMs(0)), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(WallMs(951_782_400_000)), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(date(WallMs(1_795_411_772_000)), "Mon Nov 23 05:29:32 UTC 2026");
    }

    #[test]
    fn only_words_are_words() {
        assert!(Word::parse(*b"ruok").is_some());
        assert!(Word::parse(*b"kill").is_none());
        assert!(Word::parse([0, 0, 0, 44]).is_none());
    }
}
