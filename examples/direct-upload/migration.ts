import type { MigrationInterface, QueryRunner } from 'typeorm'

// as typeorm migration:generate has written it

export class CreatePhotoAndDocument1796053975310 implements MigrationInterface {
  name = 'CreatePhotoAndDocument1796053975310'

  public async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
            CREATE TABLE "document" (
                "id" SERIAL NOT NULL,
                "visitor" character varying(32) NOT NULL,
                "file_file_name" character varying,
                "file_content_type" character varying,
                "file_file_size" bigint,
                "file_updated_at" TIMESTAMP(3),
                "file_fingerprint" character varying(64),
                "file_version" character varying(32),
                "file_processing" boolean NOT NULL DEFAULT false,
                "file_attempted_at" TIMESTAMP(3),
                "file_error" text,
                "file_meta" text,
                CONSTRAINT "PK_e57d3357f83f3cdc0acffc3d777" PRIMARY KEY ("id")
            )
        `)
    await queryRunner.query(`
            CREATE INDEX "IDX_be7ac37fcf3c1d0a2db1a61960" ON "document" ("file_processing", "file_attempted_at")
        `)
    await queryRunner.query(`
            CREATE UNIQUE INDEX "IDX_e8c56ca7dbff63eaf6a2e04d30" ON "document" ("file_version")
        `)
    await queryRunner.query(`
            CREATE TABLE "photo" (
                "id" SERIAL NOT NULL,
                "picture_file_name" character varying,
                "picture_content_type" character varying,
                "picture_file_size" bigint,
                "picture_updated_at" TIMESTAMP(3),
                "picture_fingerprint" character varying(64),
                "picture_version" character varying(32),
                "picture_processing" boolean NOT NULL DEFAULT false,
                "picture_attempted_at" TIMESTAMP(3),
                "picture_error" text,
                "picture_meta" text,
                CONSTRAINT "PK_723fa50bf70dcfd06fb5a44d4ff" PRIMARY KEY ("id")
            )
        `)
    await queryRunner.query(`
            CREATE INDEX "IDX_2603c3fd8083784c765b21f1e3" ON "photo" ("picture_processing", "picture_attempted_at")
        `)
    await queryRunner.query(`
            CREATE UNIQUE INDEX "IDX_dccbe368a563e9931f81910933" ON "photo" ("picture_version")
        `)
  }

  public async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
            DROP INDEX "public"."IDX_dccbe368a563e9931f81910933"
        `)
    await queryRunner.query(`
            DROP INDEX "public"."IDX_2603c3fd8083784c765b21f1e3"
        `)
    await queryRunner.query(`
            DROP TABLE "photo"
        `)
    await queryRunner.query(`
            DROP INDEX "public"."IDX_e8c56ca7dbff63eaf6a2e04d30"
        `)
    await queryRunner.query(`
            DROP INDEX "public"."IDX_be7ac37fcf3c1d0a2db1a61960"
        `)
    await queryRunner.query(`
            DROP TABLE "document"
        `)
  }
}
