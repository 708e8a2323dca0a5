windrow_add_tests(worker_job_test LABEL unit SOURCES worker_job.c LIBRARIES windrow_worker)
windrow_add_tests(worker_queue_local_test LABEL unit SOURCES worker_queue_local.c
  LIBRARIES windrow_worker)
windrow_add_tests(worker_pool_test LABEL component SOURCES worker_pool.c worker_fixture.c
  LIBRARIES windrow_worker)
windrow_add_tests(worker_chunk_test LABEL component SOURCES worker_chunk.c worker_fixture.c
  LIBRARIES windrow_worker)
windrow_add_tests(worker_memory_test LABEL component SOURCES worker_memory.c worker_fixture.c
  LIBRARIES windrow_worker)
# A real server: not under the thread sanitizer, whose runs leave integration tests out.
windrow_add_tests(worker_queue_nats_test LABEL integration
  SOURCES worker_queue_nats.c nats_server.c LIBRARIES windrow_worker PkgConfig::NATS)
windrow_add_tests(worker_pool_nats_test LABEL integration
  SOURCES worker_pool_nats.c worker_fixture.c nats_server.c
  LIBRARIES windrow_worker PkgConfig::NATS)
windrow_add_tests(worker_remote_test LABEL integration
  SOURCES worker_remote.c worker_fixture.c nats_server.c
  LIBRARIES windrow_worker windrow_http PkgConfig::NATS)
