//! Many small files in one run, under their own names.

use fleet_types::RepoPath;

use super::attend::{Attended, Look, stalled};
use super::folder::Folder;
use super::program::Order;
use super::verdict::{Fate, outgrew, told_of};
use super::watch::{Most, Trouble, Watch};
use super::{Endpoint, answered, finish};
use crate::{Answer, Arrival, FetchError, Request};

/// A request of a batch that has no answer yet, or has.
struct Job {
    request: Request,
    /// What the file is called in the module, and so in the folder.
    within: RepoPath,
    result: Option<Result<Arrival, FetchError>>,
}

/// How a run of many ended.
enum Ending {
    /// The program's own word, for each file that is not there.
    Told(super::program::Ended),
    Stalled,
    /// More came than was asked for, and which file is to blame does not show: each is asked for alone.
    InDoubt,
}

impl Endpoint {
    pub(super) async fn answer_many(&self, requests: Vec<Request>) -> Vec<Answer> {
        let (mut jobs, mut answers) = (Vec::new(), Vec::with_capacity(requests.len()));
        for request in requests {
            match self.remote.within(&request.path) {
                Ok(within) => jobs.push(Job::new(request, within)),
                Err(error) => answers.push(answered(request, Err(error))),
            }
        }
        if jobs.is_empty() {
            return answers;
        }
        let ending = self.fetch_together(&mut jobs).await;
        for mut job in jobs {
            let result = match (job.result.take(), &ending) {
                (Some(result), _) => result,
                (None, Ok(Ending::InDoubt)) => self.fetch_alone(&mut job.request).await,
                (None, Ok(Ending::Told(ended))) => {
                    Err(self.why(&job.request, &told_of(ended, job.within.as_str())))
                }
                (None, Ok(Ending::Stalled)) => {
                    Err(self.why(&job.request, &Fate::BrokenOff(stalled(self.stall))))
                }
                (None, Err(error)) => Err(error.clone()),
            };
            answers.push(answered(job.request, result));
        }
        answers
    }

    fn why(&self, request: &Request, fate: &Fate) -> FetchError {
        fate.error(&self.remote.name_of(&request.path), &request.sink)
    }

    /// An error is that of all jobs without a result.
    async fn fetch_together(&self, jobs: &mut [Job]) -> Result<Ending, FetchError> {
        for job in jobs.iter_mut() {
            // Small files are not continued: what another endpoint has left of them is given up.
            let again = job.request.sink.restart().await;
            again.map_err(|e| e.at(job.request.path.as_str()))?;
        }
        let folder = Folder::new(&self.scratch)?;
        let _place = self.budget.place().await;
        let names: Vec<String> = jobs
            .iter()
            .map(|job| job.within.as_str().to_owned())
            .collect();
        let names = || names.iter().map(String::as_str);
        let limits = || jobs.iter().map(|job| job.request.sink.limit());
        let order = Order {
            names: names().collect(),
            target: folder.many(),
            largest: limits().max().unwrap_or(0),
            append: false,
            stall: self.stall,
            bandwidth: self.meter.bandwidth(),
        };
        let most = Most::of(names(), limits().sum(), 0);
        let watch = Watch::new(most, self.stall, folder.extent(most.entries).await?);
        let mut attended = self.attend(&folder, &order, watch)?;
        let ending = self.await_many(&mut attended, &folder, jobs).await;
        attended.end().await;
        let ending = ending?;
        self.sweep(&folder, jobs).await?;
        Ok(ending)
    }

    async fn await_many(
        &self,
        attended: &mut Attended<'_>,
        folder: &Folder,
        jobs: &mut [Job],
    ) -> Result<Ending, FetchError> {
        loop {
            match attended.look().await? {
                Look::Ended(ended) if outgrew(&ended) => return Ok(Ending::InDoubt),
                Look::Ended(ended) => return Ok(Ending::Told(ended)),
                Look::Trouble(Trouble::TooMuch) => return Ok(Ending::InDoubt),
                Look::Trouble(Trouble::Stalled) => return Ok(Ending::Stalled),
                // What is there under its own name is complete: rsync moves it there at the end.
                Look::GoesOn => {
                    if self.sweep(folder, jobs).await? {
                        attended.took_up().await?;
                    }
                }
            }
        }
    }

    /// Takes up all files that are there by now, and says whether there were any.
    async fn sweep(&self, folder: &Folder, jobs: &mut [Job]) -> Result<bool, FetchError> {
        let open = jobs.iter().enumerate();
        let open = open.filter(|(_, job)| job.result.is_none());
        let paths = open.map(|(index, job)| (index, job.within.clone()));
        let there = folder.which_are_there(paths.collect()).await?;
        for index in &there {
            let Some(job) = jobs.get_mut(*index) else {
                continue;
            };
            let Some(found) = folder.open(&job.within).await? else {
                continue;
            };
            let name = self.remote.name_of(&job.request.path);
            let stamp = found.stamp;
            let sink = &mut job.request.sink;
            job.result = Some(match self.take_whole(found, sink, &name).await {
                Ok(()) => finish(sink, &name, Some(stamp)).await,
                Err(error) => Err(error),
            });
            folder.remove(&job.within).await?;
        }
        Ok(!there.is_empty())
    }
}

impl Job {
    fn new(request: Request, within: RepoPath) -> Job {
        Job {
            request,
            within,
            result: None,
        }
    }
}
