//! The command line: arguments parsed once, each command a file.
//!
//! `bank` works on the data folder alone; `exam` commands call a running server as an organizer.

mod serve;

mod bank;

mod client;
mod exam;
mod spec;

mod act;
mod archive;
mod ask;
mod codes;
mod decide;
mod integrity;
mod log_file;
mod results;
mod verify;
mod watch;

mod paper;
mod receipt;

mod backup;
mod log;

use std::{
    io::{self, Write},
    path::PathBuf,
    process,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    admission::CallerFrom,
    server::{Role, STARTS_PER_SECOND, Settings, TlsFiles, starts},
};

/// Khoa Bảng: ngân hàng câu hỏi, tổ chức thi, chấm và xếp hạng / question bank, examinations, scores and ranks.
#[derive(Debug, Parser)]
#[command(name = "exam", version)]
pub struct Arguments {
    /// Thư mục dữ liệu / data folder.
    #[arg(long, global = true, env = "EXAM_DATA", default_value = "data")]
    pub data: PathBuf,
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Chạy máy chủ, mọi vai trò hoặc vài vai trò / run the server, all roles or some.
    Serve(ServeArguments),
    /// Ngân hàng câu hỏi / question bank.
    #[command(subcommand)]
    Bank(BankCommand),
    /// Kỳ thi trên máy chủ đang chạy / exams of a running server.
    Exam(ExamArguments),
    /// Kiểm tra toàn bộ hồ sơ bằng chương trình viết độc lập, rồi ký / examine a whole archive by an independent implementation, and sign.
    Verify {
        /// Thư mục hồ sơ lưu / archive folder.
        archive: PathBuf,
        /// Khóa của người kiểm tra (`secrets/verdict.key`) / the auditor's key.
        #[arg(long)]
        sign: Option<PathBuf>,
        /// Ký cả khi thí sinh kiểm soát chưa thi đủ / sign though control candidates are missing.
        #[arg(long, requires = "sign")]
        without_controls: bool,
    },
    /// Tìm dấu hiệu chép bài, làm bừa, dùng chung thiết bị trong hồ sơ / search an archive for signs of copying, guessing and shared devices.
    Integrity(integrity::IntegrityArguments),
    /// Dựng lại và kiểm tra đề của thí sinh / rebuild and verify candidates' papers.
    #[command(subcommand)]
    Paper(PaperCommand),
    /// Biên nhận nộp bài / slips of submission.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Sao lưu máy chủ đang chạy; có cả đáp án và khóa bí mật / back up the running server; keys and secrets are in it.
    Backup {
        /// Thư mục nhận, mới hoặc trống / folder to write to, new or empty.
        target: PathBuf,
        /// Máy chủ / server.
        #[arg(long, env = "EXAM_SERVER", default_value = "http://127.0.0.1:7800")]
        server: String,
        /// Nơi cấp chứng chỉ được tin, PEM; không ghi là các nơi máy này tin / trusted authority of an https server, PEM; none is those of this machine.
        #[arg(long, env = "EXAM_CA")]
        ca: Option<PathBuf>,
        /// Nơi lưu nhật ký, như của `serve` / where the log is archived, as for `serve`.
        #[arg(long, env = "EXAM_ARCHIVE")]
        archive: Option<String>,
    },
    /// Dựng lại thư mục dữ liệu (--data, mới hoặc trống) từ bản sao lưu / make the data folder (--data, new or empty) from a backup.
    Restore {
        /// Thư mục sao lưu / backup folder.
        backup: PathBuf,
    },
    /// Kiểm tra kho lưu nhật ký / check the log archive.
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Kiểm tra mọi đoạn: băm, chuỗi, vị trí / check all segments: hashes, chain, positions.
    Verify {
        /// Tên kỳ thi; không ghi là tất cả / name of the exam; none is all.
        id: Option<String>,
        /// Nơi lưu nhật ký, như của `serve` / where the log is archived, as for `serve`.
        #[arg(long, env = "EXAM_ARCHIVE")]
        archive: Option<String>,
    },
    /// Kiểm tra rồi ghi lại thành tệp như `log.bin` / check and write as a file like `log.bin`.
    Replay {
        /// Tên kỳ thi / name of the exam.
        id: String,
        /// Tệp nhận / file to write.
        file: PathBuf,
        /// Nơi lưu nhật ký, như của `serve` / where the log is archived, as for `serve`.
        #[arg(long, env = "EXAM_ARCHIVE")]
        archive: Option<String>,
    },
}

/// Settings of the server.
#[derive(Clone, Debug, Args)]
pub struct ServeArguments {
    /// Địa chỉ lắng nghe / address to listen on; port 0 takes a free one.
    #[arg(long, env = "EXAM_LISTEN", default_value = "127.0.0.1:7800")]
    pub listen: String,
    /// Dùng Redis hoặc Valkey thay cho kho nhúng / use Redis or Valkey instead of the embedded store:
    /// redis://, rediss://, redis+unix://, redis-sentinel://h1,h2,h3/name, redis-cluster://h1,h2 (docs/REDIS.md).
    #[arg(long, env = "EXAM_REDIS", hide_env_values = true)] // it may hold a password
    pub redis: Option<String>,
    /// Chứng thực gốc (PEM) của máy chủ Redis dùng TLS / authority (PEM) that signed the certificates of Redis.
    #[arg(long, env = "EXAM_REDIS_CA")]
    pub redis_ca: Option<PathBuf>,
    /// Xác nhận khi một máy đã lưu (single) hoặc khi cả bản sao đã nhận (replicated) /
    /// acknowledge what one machine has stored (single), or what a replica has received, too (replicated).
    #[arg(long, env = "EXAM_DURABILITY", value_enum, default_value_t)]
    pub durability: DurabilityArgument,
    /// Thi thử: chấp nhận Redis chưa đủ bền / rehearsal: accept a Redis that is not durable.
    #[arg(long, env = "EXAM_PRACTICE")]
    pub practice: bool,
    /// Vai trò của tiến trình, cách nhau bằng dấu phẩy / roles of the process, separated by commas.
    #[arg(long = "role", env = "EXAM_ROLE", value_enum, value_delimiter = ',', default_values_t = Role::ALL)]
    pub roles: Vec<Role>,
    /// Nơi đọc nhật ký, cho máy chấm không có engine bên cạnh / engines to read logs from, for a grader without one beside it.
    #[arg(long, env = "EXAM_ENGINES", value_delimiter = ',', value_name = "URL")]
    pub engine: Vec<String>,
    /// Nơi có máy chấm, một hay nhiều, ngoài máy chấm của chính tiến trình này / where graders are, one or more, besides this process's own.
    #[arg(long, env = "EXAM_GRADER", value_delimiter = ',', value_name = "URL")]
    pub grader: Vec<String>,
    /// Đã cố ý đổi khóa trong secrets/ trên mọi máy / the secrets were changed on purpose on all machines.
    #[arg(long)]
    pub accept_new_secrets: bool,
    /// Nơi lưu nhật ký: thư mục hoặc s3://bucket/…; không ghi là `archive` trong thư mục dữ liệu, với Redis thì không lưu và không xóa gì; mọi tiến trình dùng cùng một nơi / where the log is archived: a folder or s3://bucket/…; by default `archive` in the data folder, with Redis nothing is archived or trimmed; the same place for all processes.
    #[arg(long, env = "EXAM_ARCHIVE")]
    pub archive: Option<String>,
    /// Bảo vệ cổng, nhịp vào thi, TLS / the port's protection, pace of starts, TLS.
    #[command(flatten)]
    pub port: PortArguments,
}

/// When an answer is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArgument {
    /// Stored by one machine.
    #[default]
    Single,
    /// Stored by one machine and received by another.
    Replicated,
}

/// Settings of the port.
#[derive(Clone, Debug, Args)]
pub struct PortArguments {
    /// Số lượt bắt đầu mỗi giây; hơn thế thì chờ theo thứ tự / starts a second; who comes beyond waits in order.
    #[arg(long, env = "EXAM_STARTS_PER_SECOND", default_value_t = STARTS_PER_SECOND, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub starts_per_second: u32,
    /// Địa chỉ của proxy được tin khi nói địa chỉ người gọi; dùng nhiều lần được / a proxy whose word for the caller's address counts; repeatable.
    #[arg(long, env = "EXAM_TRUSTED_PROXY", value_delimiter = ',')]
    pub trusted_proxy: Vec<std::net::IpAddr>,
    /// Proxy nói địa chỉ người gọi bằng cách nào: tên tiêu đề HTTP, proxy-protocol (v2), hoặc nobody: không nói, nên không giới hạn theo địa chỉ /
    /// how proxies name the caller: a header, proxy-protocol (v2), or nobody: not at all, so there are no limits by address.
    #[arg(long, env = "EXAM_CALLER_FROM", default_value = "x-forwarded-for")]
    pub caller_from: CallerFrom,
    /// Số lần gọi mỗi giây của một phiên làm bài / calls a second of one session.
    #[arg(long, env = "EXAM_CALLS_PER_SESSION", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub calls_per_session: u32,
    /// Số lần gọi mỗi giây của một địa chỉ mạng; cả một trường có thể chung một địa chỉ / calls a second of one network address, behind which a whole school may be.
    #[arg(long, env = "EXAM_CALLS_PER_ADDRESS", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub calls_per_address: u32,
    /// Giới hạn cả người gọi từ chính máy này (mặc định không) / limit callers of this very machine too (not by default).
    #[arg(long, env = "EXAM_LIMIT_LOOPBACK")]
    pub limit_loopback: bool,
    /// Chứng chỉ TLS, PEM; tự đọc lại khi tệp đổi / TLS certificate, PEM; read again when the file changes.
    #[arg(long, env = "EXAM_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Khóa riêng của chứng chỉ, PEM / private key of the certificate, PEM.
    #[arg(long, env = "EXAM_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Nơi cấp chứng chỉ của các vai trò: nhật ký và chấm thi chỉ nhận ai trình chứng chỉ này / authority of the roles' certificates: log and grader serve only who shows one.
    #[arg(long, env = "EXAM_TLS_CLIENT_CA", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
}

impl PortArguments {
    /// Returns the settings of a server.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let mut settings = Settings {
            starts: starts(self.starts_per_second),
            ..Settings::default()
        };
        let callers = &mut settings.callers;
        callers.per_token.per_s = self.calls_per_session;
        callers.per_token.burst = self.calls_per_session.saturating_mul(6);
        callers.per_address.per_s = self.calls_per_address;
        callers.per_address.burst = self.calls_per_address.saturating_mul(5);
        callers.trusted_proxies.clone_from(&self.trusted_proxy);
        callers.caller_from.clone_from(&self.caller_from);
        callers.limit_loopback = self.limit_loopback;
        if let (Some(cert), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) {
            let client_ca = self.tls_client_ca.clone();
            settings.tls = Some(TlsFiles {
                cert,
                key,
                client_ca,
            });
        }
        settings
    }
}

#[derive(Debug, Subcommand)]
enum BankCommand {
    /// Nhập câu hỏi từ Word hoặc Excel / import items from Word or Excel.
    Import {
        /// Tệp câu hỏi / file with the questions.
        file: PathBuf,
        /// Tệp đáp án riêng, nếu có / file with the keys, if apart.
        #[arg(long)]
        key: Option<PathBuf>,
        /// In kết quả dạng JSON / print the outcome as JSON.
        #[arg(long)]
        json: bool,
        /// Chỉ xem, không lưu / look only, keep nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Xem số câu theo chủ đề và mức độ / show counts by topic and band.
    Show,
    /// Chốt bản phát hành mới / freeze a new release.
    Release,
    /// Ghi thống kê câu hỏi của một kỳ thi đã lưu vào ngân hàng / write the item statistics of an archived exam into the bank.
    Statistics {
        /// Thư mục hồ sơ lưu / archive folder.
        archive: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ExamArguments {
    /// Máy chủ / server.
    #[arg(
        long,
        global = true,
        env = "EXAM_SERVER",
        default_value = "http://127.0.0.1:7800"
    )]
    server: String,
    /// Nơi cấp chứng chỉ được tin, PEM; không ghi là các nơi máy này tin / trusted authority of an https server, PEM; none is those of this machine.
    #[arg(long, global = true, env = "EXAM_CA")]
    ca: Option<PathBuf>,
    #[command(subcommand)]
    command: ExamCommand,
}

#[derive(Debug, Subcommand)]
enum ExamCommand {
    /// In một tệp mô tả kỳ thi mẫu / print a sample exam file.
    Template,
    /// Tạo kỳ thi từ tệp mô tả (JSON) và công bố / create an exam from a file (JSON) and publish it.
    Create {
        /// Tệp mô tả / exam file.
        file: PathBuf,
        /// Chỉ lưu nháp / keep a draft only.
        #[arg(long)]
        draft: bool,
    },
    /// Công bố bản nháp / publish a draft.
    Publish {
        /// Tên kỳ thi / name of the exam.
        id: String,
    },
    /// Mở kỳ thi / open an exam.
    Open {
        /// Tên kỳ thi / name of the exam.
        id: String,
    },
    /// Đóng kỳ thi / close an exam.
    Close {
        /// Tên kỳ thi / name of the exam.
        id: String,
        /// Kết thúc ngay các bài đang làm / end running attempts now.
        #[arg(long)]
        end_running: bool,
    },
    /// Liệt kê các kỳ thi / list exams.
    List,
    /// Theo dõi số bài đang làm, đã nộp đến khi bấm Ctrl+C / watch how many work and have submitted until Ctrl+C.
    Watch {
        /// Tên kỳ thi / name of the exam.
        id: String,
    },
    /// Xem bảng xếp hạng / show the standings.
    Standings {
        /// Tên kỳ thi / name of the exam.
        id: String,
        #[command(flatten)]
        among: Among,
        /// Số dòng / number of rows.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Cấp mã dự thi: đọc CSV `mã thí sinh (32 chữ số hex),mã tỉnh` (hoặc `;`), in thêm cột mã / issue access codes for a CSV of candidate id and area.
    Codes {
        /// Tên kỳ thi / name of the exam.
        id: String,
        /// Tệp CSV / CSV file.
        file: PathBuf,
    },
    /// Xuất kết quả / export results.
    Results {
        /// Tên kỳ thi / name of the exam.
        id: String,
        /// Ghi CSV vào tệp này / write CSV to this file.
        #[arg(long)]
        csv: Option<PathBuf>,
        /// Ghi Excel vào tệp này / write Excel to this file.
        #[arg(long)]
        xlsx: Option<PathBuf>,
    },
    #[command(flatten)]
    Act(act::ActCommand),
    #[command(flatten)]
    Decide(decide::DecideCommand),
    #[command(flatten)]
    Ask(ask::AskCommand),
    /// Tải hồ sơ lưu của kỳ thi đã đóng / download the archive of a closed exam.
    Archive {
        /// Tên kỳ thi / name of the exam.
        id: String,
        /// Thư mục nhận, mới hoặc trống / folder to write to, new or empty.
        folder: PathBuf,
    },
}

/// Who is ranked.
#[derive(Debug, Args)]
struct Among {
    /// Mã tỉnh; không ghi là cả nước / area code; none is nationwide.
    #[arg(long, group = "among")]
    area: Option<String>,
    /// Đơn vị, gồm cả đơn vị cấp dưới / unit, with all below it.
    #[arg(long, group = "among")]
    unit: Option<u32>,
    /// Nhóm đối tượng / audience group.
    #[arg(long, group = "among")]
    group: Option<String>,
    /// Chỉ tính vòng này / this round only.
    #[arg(long)]
    round: Option<u32>,
}

impl Among {
    fn scope(self) -> proto::exam::v1::Scope {
        proto::exam::v1::Scope {
            area: self.area.unwrap_or_default(),
            unit: self.unit.unwrap_or_default(),
            group: self.group.unwrap_or_default(),
            round: self.round.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum PaperCommand {
    /// Dựng lại đề của một thí sinh / rebuild one candidate's paper.
    Rebuild {
        /// Thư mục hồ sơ lưu / archive folder.
        archive: PathBuf,
        /// Mã thí sinh, 32 chữ số hex / candidate id, 32 hexadecimal digits.
        #[arg(long)]
        candidate: String,
        /// Lượt thi / attempt.
        #[arg(long, default_value_t = 1)]
        attempt: u32,
    },
    /// Dựng lại mọi đề trong hồ sơ và so với nhật ký / rebuild all papers of an archive and compare with its log.
    Verify {
        /// Thư mục hồ sơ lưu / archive folder.
        archive: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum ReceiptCommand {
    /// Kiểm tra biên nhận nộp bài / verify the slip of a submission.
    Verify {
        /// Biên nhận, bắt đầu bằng KB1. / the slip, beginning with KB1.
        slip: String,
        /// Khóa công bố của kỳ thi, 64 chữ số hex / the exam's published key, 64 hexadecimal digits.
        #[arg(long)]
        key: Option<String>,
        /// Thư mục hồ sơ lưu, để so với nhật ký / archive folder, to compare with the log.
        #[arg(long)]
        archive: Option<PathBuf>,
    },
}

/// Does what the arguments say.
///
/// # Errors
/// Whatever went wrong, with what to do about it.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let data = arguments.data;
    match arguments.command {
        Command::Serve(serve) => serve::run(&data, &serve),
        Command::Bank(BankCommand::Import {
            file,
            key,
            json,
            dry_run,
        }) => bank::import(&data, &file, key.as_deref(), json, dry_run),
        Command::Bank(BankCommand::Show) => bank::show(&data),
        Command::Bank(BankCommand::Release) => bank::release(&data),
        Command::Bank(BankCommand::Statistics { archive }) => bank::statistics(&data, &archive),
        Command::Exam(ExamArguments {
            server,
            ca,
            command,
        }) => exam::run(&data, &server, ca.as_deref(), command),
        Command::Paper(PaperCommand::Rebuild {
            archive,
            candidate,
            attempt,
        }) => paper::rebuild(&archive, &candidate, attempt),
        Command::Paper(PaperCommand::Verify { archive }) => paper::verify(&archive),
        Command::Integrity(arguments) => integrity::run(&arguments),
        Command::Verify {
            archive,
            sign,
            without_controls,
        } => verify::run(&archive, sign.as_deref(), without_controls),
        Command::Receipt(ReceiptCommand::Verify { slip, key, archive }) => {
            receipt::verify(&slip, key.as_deref(), archive.as_deref())
        }
        Command::Backup {
            target,
            server,
            ca,
            archive,
        } => backup::run(&data, &server, ca.as_deref(), archive.as_deref(), &target),
        Command::Restore { backup } => backup::restore(&backup, &data),
        Command::Log(LogCommand::Verify { id, archive }) => {
            log::verify(&data, archive.as_deref(), id.as_deref())
        }
        Command::Log(LogCommand::Replay { id, file, archive }) => {
            log::replay(&data, archive.as_deref(), &id, &file)
        }
    }
}

/// Prints an error and its causes.
#[expect(clippy::print_stderr, reason = "the command line speaks to a person")]
pub fn print_error(error: &anyhow::Error) {
    eprintln!("lỗi / error: {error:#}");
}

/// Prints a line for a person or a script. A reader that has gone (`| head`) ends the program quietly.
fn say(line: impl std::fmt::Display) {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => {
            print_error(&anyhow::Error::new(error).context("không in ra được / cannot print"));
            process::exit(1);
        }
    }
}
